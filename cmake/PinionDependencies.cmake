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
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)

if(PINION_WITH_TORCH)
  set(PINION_PYTHON "" CACHE FILEPATH "Python interpreter whose torch package provides libtorch")
  if(PINION_PYTHON AND NOT Torch_DIR)
    execute_process(COMMAND ${PINION_PYTHON} -c "import torch; print(torch.utils.cmake_prefix_path)"
                    OUTPUT_VARIABLE torch_prefix OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    list(APPEND CMAKE_PREFIX_PATH ${torch_prefix})
  endif()
  find_package(Torch 2.11 REQUIRED)
endif()
