# Every outside library, in one place. All come from the distribution except libtorch, which comes
# from the Python environment named by PINION_PYTHON (./dev sets it up).

find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PNG REQUIRED)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(x265 QUIET IMPORTED_TARGET x265)  # these two for pinion_video only
pkg_check_modules(de265 QUIET IMPORTED_TARGET libde265)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)

if(PINION_WITH_TORCH)
  include(PinionTorch)
endif()

# The CUDA compiler, for the codec on devices. Sanitizers and it do not go together.
if(PINION_WITH_CUDA AND NOT PINION_SANITIZE AND NOT PINION_FUZZ)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 75 80 86 89 90 120)  # Turing to Blackwell
    endif()
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    set(CMAKE_CUDA_EXTENSIONS OFF)
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
  else()
    message(STATUS "pinion_codec_cuda is not built: no CUDA compiler")
  endif()
endif()
