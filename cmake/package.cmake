# What is installed: programs and manual pages everywhere; with POSTERN_PACKAGE also what a Debian package has. The target "package" (cpack)
# makes it from a build with the preset "package".
option(POSTERN_PACKAGE "Install configuration, service, logrotate and documents, too" OFF)

# postern.conf(5): its keys are those of the one table.
add_executable(conf_page packaging/conf_page.c)
target_link_libraries(conf_page PRIVATE postern_conf)
set(POSTERN_PAGES posternd.8 posternctl.8 postern.conf.5)
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/postern.conf.5
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
  COMMAND conf_page < ${CMAKE_SOURCE_DIR}/docs/postern.conf.5.in > ${CMAKE_BINARY_DIR}/man/postern.conf.5
  DEPENDS conf_page docs/postern.conf.5.in VERBATIM)
foreach(page ${POSTERN_PAGES})
  set(source ${CMAKE_SOURCE_DIR}/docs/${page})
  if(page STREQUAL "postern.conf.5")
    set(source ${CMAKE_BINARY_DIR}/man/${page})
  endif()
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/${page}.gz
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
    COMMAND gzip -9nc ${source} > ${CMAKE_BINARY_DIR}/man/${page}.gz DEPENDS ${source} VERBATIM)
  list(APPEND POSTERN_PAGES_GZ ${CMAKE_BINARY_DIR}/man/${page}.gz)
endforeach()
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/changelog.gz
  COMMAND gzip -9nc ${CMAKE_SOURCE_DIR}/CHANGES.md > ${CMAKE_BINARY_DIR}/man/changelog.gz DEPENDS CHANGES.md VERBATIM)
add_custom_target(man ALL DEPENDS ${POSTERN_PAGES_GZ} ${CMAKE_BINARY_DIR}/man/changelog.gz)

include(GNUInstallDirs)
install(TARGETS posternd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(TARGETS posternctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(page ${POSTERN_PAGES_GZ})
  string(REGEX REPLACE ".*\\.([58])\\.gz$" "\\1" section ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

if(POSTERN_PACKAGE)
  install(FILES packaging/postern.conf DESTINATION /etc/postern)
  install(FILES packaging/postern.logrotate DESTINATION /etc/logrotate.d RENAME postern)
  install(FILES packaging/postern.service DESTINATION /lib/systemd/system)
  file(GLOB documents docs/*.md)
  file(GLOB examples etc/*.conf)
  list(FILTER examples EXCLUDE REGEX "/default\\.conf$")
  install(FILES ${documents} README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
  install(FILES ${examples} packaging/root.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
  install(PROGRAMS scripts/make-ca DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
  install(FILES packaging/deb/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
  install(FILES ${CMAKE_BINARY_DIR}/man/changelog.gz DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_NAME postern)
set(CPACK_PACKAGE_CONTACT "Postern <postern@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "application-layer firewall for HTTP and WebSocket")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Postern stands between clients and servers as a proxy that ends every TCP
connection, reads what flows in it, and asks a policy. A server's bytes pass
only inside a stream that a client opened, and only as what it waits for.
.
As it is installed it is an explicit proxy for programs on this machine.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "logrotate")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/deb/postinst ${CMAKE_SOURCE_DIR}/packaging/deb/prerm
    ${CMAKE_SOURCE_DIR}/packaging/deb/postrm ${CMAKE_SOURCE_DIR}/packaging/deb/conffiles)
include(CPack)
