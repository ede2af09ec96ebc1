/* What differs between compilers and systems, in one place: inlining, alignment, relaxed hints, exports.
 *
 * Everything else in this folder is plain C11 and includes this file first. GCC, Clang (Linux, macOS) and
 * MSVC or clang-cl (Windows) are meant; only GCC and Clang know per-function targets, MSVC needs none.
 */
#ifndef QT_PORTABILITY_H
#define QT_PORTABILITY_H

#include <stddef.h>
#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#define QT_INLINE static __forceinline
#define QT_TARGET(features)
#define QT_EXPORT __declspec(dllexport)
#else
#define QT_INLINE static inline __attribute__((always_inline))
#define QT_TARGET(features) __attribute__((target(features)))
#if defined(_WIN32)
#define QT_EXPORT __declspec(dllexport)
#else
#define QT_EXPORT __attribute__((visibility("default")))
#endif
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define QT_X86 1
#endif
#if defined(__aarch64__) || defined(_M_ARM64)
#define QT_ARM 1
#endif
/* Clang before 16 hides the dot-product intrinsics unless the whole file is compiled for them (Apple's is). */
#if defined(QT_ARM) && (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD))
#define QT_NEON_DOT 1
#endif

#endif
