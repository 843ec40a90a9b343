# libtorch, out of the Python environment that PINION_PYTHON names, as the target pinion_torch.
#
# Not find_package(Torch): where torch was built with CUDA that one insists on a CUDA toolkit, although the
# wheel carries every library that is needed to link and run.

set(PINION_PYTHON "python3" CACHE FILEPATH "Python interpreter whose torch package provides libtorch")
execute_process(
  COMMAND ${PINION_PYTHON} -c "import importlib.metadata as m, importlib.util as u; \
print(m.version('torch'), u.find_spec('torch').submodule_search_locations[0], sep=';')"
  OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failure)
if(failure)
  message(FATAL_ERROR "${PINION_PYTHON} has no torch package: set PINION_PYTHON, or let ./dev build do it")
endif()
list(GET found 0 PINION_TORCH_VERSION)
list(GET found 1 torch_folder)
if(PINION_TORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "${PINION_PYTHON} has torch ${PINION_TORCH_VERSION}: Pinion needs 2.11 or newer")
endif()
message(STATUS "Found libtorch ${PINION_TORCH_VERSION}: ${torch_folder}")

add_library(pinion_torch INTERFACE)
# After the system's own headers: the wheel also carries a newer fmt, which must not hide the one we link.
target_compile_options(pinion_torch INTERFACE "SHELL:-idirafter ${torch_folder}/include"
                       "SHELL:-idirafter ${torch_folder}/include/torch/csrc/api/include")
# Kernels register themselves when their library is loaded, so each must be linked although no symbol is used.
target_link_options(pinion_torch INTERFACE LINKER:--no-as-needed)
# Ahead of libtorch: the wheel exports a std::filesystem of its own compiler's, which crashes in our hands.
target_link_libraries(pinion_torch INTERFACE stdc++)
foreach(name torch torch_cpu torch_cuda c10 c10_cuda)
  if(EXISTS ${torch_folder}/lib/lib${name}.so)
    add_library(pinion_libtorch_${name} SHARED IMPORTED GLOBAL)
    set_target_properties(pinion_libtorch_${name} PROPERTIES IMPORTED_LOCATION ${torch_folder}/lib/lib${name}.so)
    target_link_libraries(pinion_torch INTERFACE pinion_libtorch_${name})
  endif()
endforeach()
set(TORCH_LIBRARIES pinion_torch)
