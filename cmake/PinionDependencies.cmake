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
