# Sets CMAKE_CUDA_ARCHITECTURES for this machine: one more takes a minute to compile. docs/cuda.md has the list
# for programs that leave it.
#
# Not CMake's `native`: without a device it names an architecture that does not exist.

execute_process(
  COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
  OUTPUT_VARIABLE answer RESULT_VARIABLE failure ERROR_QUIET)
string(REGEX MATCHALL "(7\\.5|[89]\\.[0-9]|1[0-9]\\.[0-9])" capabilities "${answer}")  # Turing and newer
list(TRANSFORM capabilities REPLACE "\\." "")
list(REMOVE_DUPLICATES capabilities)
if(failure EQUAL 0 AND capabilities)
  set(CMAKE_CUDA_ARCHITECTURES ${capabilities})
else()
  set(CMAKE_CUDA_ARCHITECTURES 90)  # the newest path of the code, assembled too; newer devices translate it
endif()
message(STATUS "CUDA kernels are for architectures ${CMAKE_CUDA_ARCHITECTURES}")
