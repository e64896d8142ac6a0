# llhttp: the system's libllhttp (9 or newer), or Debian's node-llhttp, whose C sources are compiled here. llhttp before 9 has a loose
# mode that is the default and that lets request smuggling through (CVE-2023-30589): LLHTTP_STRICT_MODE=1 must be set for every unit that
# sees its header. src/proto/h1.c refuses to compile otherwise, and posternd tests the linked parser when it starts.
pkg_check_modules(LLHTTP QUIET IMPORTED_TARGET libllhttp>=9)
if(LLHTTP_FOUND)
  add_library(llhttp INTERFACE)
  target_link_libraries(llhttp INTERFACE PkgConfig::LLHTTP)
else()
  find_path(LLHTTP_SOURCE llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH)
  find_path(LLHTTP_INCLUDE llhttp.h PATHS /usr/share/include/llhttp /usr/include/llhttp NO_DEFAULT_PATH)
  if(NOT LLHTTP_SOURCE OR NOT LLHTTP_INCLUDE)
    message(FATAL_ERROR "llhttp not found: install libllhttp (9 or newer) or Debian's node-llhttp (scripts/setup does)")
  endif()
  add_library(llhttp STATIC ${LLHTTP_SOURCE}/llhttp.c ${LLHTTP_SOURCE}/api.c ${LLHTTP_SOURCE}/http.c)
  target_include_directories(llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE})
  target_compile_definitions(llhttp PUBLIC LLHTTP_STRICT_MODE=1)
  target_compile_options(llhttp PRIVATE -w)
endif()
