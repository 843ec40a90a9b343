# How targets are made here: one library per folder, its tests beside its sources.

# Warnings, sanitizers and asserts that every target of ours shares.
add_library(pinion_flags INTERFACE)
set(pinion_warnings -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)  # what nvcc makes of a source is not ours
target_compile_options(pinion_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${pinion_warnings}>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms on std::string (GCC bug 105651), std::vector and std::shared_ptr.
  target_compile_options(pinion_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict;-Wno-stringop-overflow;-Wno-use-after-free>")
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(pinion_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)  # lets ccache see into precompiled headers
endif()
target_include_directories(pinion_flags INTERFACE ${PROJECT_SOURCE_DIR})
if(PINION_SANITIZE)
  # -g1: reports need line numbers, and full debug information would double the time to compile. -O1: more would
  # take longer to compile than the tests gain by it.
  target_compile_options(pinion_flags INTERFACE -fsanitize=${PINION_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all -g1 -O1)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND PINION_SANITIZE MATCHES "undefined")
    # The check of calls through pointers and coroutines exclude each other (clang cannot assemble both).
    target_compile_options(pinion_flags INTERFACE -fno-sanitize=function)
  endif()
  target_link_options(pinion_flags INTERFACE -fsanitize=${PINION_SANITIZE})
  target_compile_definitions(pinion_flags INTERFACE PINION_ASSERTS=1)
endif()

if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Coroutines with local types, which the compiler takes for those of a header here.
  target_compile_options(pinion_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()
if(PINION_FUZZ)
  target_compile_options(pinion_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# What ./dev asks for: every test, every fuzz target.
add_custom_target(pinion_tests)
add_custom_target(fuzzers)

# pinion_whole_folders(TARGET SOURCE...): presets with CMAKE_UNITY_BUILD compile a target's sources of one folder as
# one, which reads headers and makes what templates ask for once. So a name that a file keeps to itself is used once in
# its folder. Sources with compile options of their own stay alone.
function(pinion_whole_folders target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD_MODE GROUP)
  foreach(source ${ARGN})
    get_filename_component(folder ${source} DIRECTORY)
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP "folder/${folder}")
  endforeach()
endfunction()

# pinion_library(FOLDER SOURCES a.cc ... LINKS lib ... [PRIVATE_LINKS lib ...])
# makes the static library pinion_FOLDER. LINKS are what the folder's headers need.
function(pinion_library folder)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(pinion_${folder} STATIC ${ARG_SOURCES})
  pinion_whole_folders(pinion_${folder} ${ARG_SOURCES})
  target_link_libraries(pinion_${folder} PUBLIC pinion_flags ${ARG_LINKS} PRIVATE ${ARG_PRIVATE_LINKS})
endfunction()

# For what only waits, parses, prints or tests: optimising that would only take time to compile.
set(pinion_glue "")
if(PINION_SANITIZE)
  set(pinion_glue -O0)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(pinion_glue -O1)
endif()

# GoogleTest's headers, precompiled once for all tests.
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/test_headers.cc CONTENT "")
add_library(pinion_test_headers OBJECT ${PROJECT_BINARY_DIR}/test_headers.cc)
target_link_libraries(pinion_test_headers PUBLIC pinion_flags GTest::gmock Threads::Threads)
target_compile_options(pinion_test_headers PRIVATE -fPIE ${pinion_glue})  # as tests are
target_precompile_headers(pinion_test_headers PRIVATE <gmock/gmock.h> <gtest/gtest.h>)

# pinion_test(NAME SOURCES a_test.cc ... LINKS lib ... [ENVIRONMENT A=b ...] [TIMEOUT seconds] [HEADERS_OF target])
# makes one GoogleTest binary and one ctest entry of the same name, with its folder's name as a label; the
# target tests_FOLDER builds all of a folder. HEADERS_OF: whose precompiled headers it uses.
function(pinion_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT;HEADERS_OF" "SOURCES;LINKS;ENVIRONMENT;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  pinion_whole_folders(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} pinion_flags GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE PINION_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE ${pinion_glue})
  if(ARG_HEADERS_OF)
    target_compile_options(${name} PRIVATE -fPIC)  # as that library is
    target_precompile_headers(${name} REUSE_FROM ${ARG_HEADERS_OF})
  else()
    target_precompile_headers(${name} REUSE_FROM pinion_test_headers)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  if(NOT TARGET tests_${folder})
    add_custom_target(tests_${folder})
    add_dependencies(pinion_tests tests_${folder})
  endif()
  add_dependencies(tests_${folder} ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${folder};${ARG_LABELS}")
  # Tests run beside each other, so libtorch's idle threads must sleep, not spin.
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive;${ARG_ENVIRONMENT}")
endfunction()

# pinion_fuzzer(NAME SOURCES x_fuzz.cc LINKS lib ... ) makes a libFuzzer target; its corpus is
# tests/fuzz/corpus/NAME. Built only with PINION_FUZZ (preset "fuzz", clang).
function(pinion_fuzzer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  if(NOT PINION_FUZZ)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} pinion_flags)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzzers)
  add_dependencies(fuzzers ${name})
endfunction()
