/* SPDX-License-Identifier: ISC */
#ifndef POSTERN_BASE_SANITIZER_H
#define POSTERN_BASE_SANITIZER_H

/* Is the address sanitizer compiled in? 1 or 0. Its leak check traces the process, and it sees no use of memory that is kept. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Is this a build for gcov, which writes files when a process ends? 1 or 0. */
#ifdef POSTERN_COVERED
#define COVERED 1
#else
#define COVERED 0
#endif

#endif
