/* Makes the n-th call of one kind fail, on files below one folder: what a dying or a full disk does to a process.
 *
 * BARNABAS_SHIM         kind:errno:n:times   kind is write, sync or rename; calls n .. n+times-1 fail with errno
 * BARNABAS_SHIM_FOLDER  only files below it count
 *
 * Loaded by LD_PRELOAD. A write that fails writes nothing; one line on stderr tells of each failure.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char kind[16];
static int code;
static int first;
static int times;
static const char *folder;
static atomic_int calls;

__attribute__((constructor)) static void configure(void) {
    const char *plan = getenv("BARNABAS_SHIM");
    folder = getenv("BARNABAS_SHIM_FOLDER");
    if (plan == NULL || folder == NULL || sscanf(plan, "%15[^:]:%d:%d:%d", kind, &code, &first, &times) != 4) {
        folder = NULL;
    }
}

static int is_below(const char *path) {
    size_t size = strlen(folder);
    return strncmp(path, folder, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

static int fails(const char *asked, const char *path) {
    int call = atomic_fetch_add(&calls, 1) + 1;
    if (call < first || call >= first + times) {
        return 0;
    }
    char line[PATH_MAX + 80];
    int size = snprintf(line, sizeof line, "shim: %s %d of %s fails with %d\n", asked, call, path, code);
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    real(2, line, (size_t)size);
    errno = code;
    return 1;
}

static int fd_fails(const char *asked, int fd) {
    if (folder == NULL || strcmp(kind, asked) != 0) {
        return 0;
    }
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) {
        return 0;
    }
    path[size] = '\0';
    return is_below(path) && fails(asked, path);
}

#define PASS_ON(kind_, name, parameters, arguments)                                                    \
    ssize_t name parameters {                                                                          \
        ssize_t(*real) parameters = dlsym(RTLD_NEXT, #name);                                           \
        return fd_fails(kind_, fd) ? -1 : real arguments;                                              \
    }

PASS_ON("write", write, (int fd, const void *bytes, size_t size), (fd, bytes, size))
PASS_ON("write", writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
PASS_ON("write", pwrite, (int fd, const void *bytes, size_t size, off_t at), (fd, bytes, size, at))
PASS_ON("write", pwrite64, (int fd, const void *bytes, size_t size, off64_t at), (fd, bytes, size, at))
PASS_ON("write", pwritev, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at))
PASS_ON("write", pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at))
PASS_ON("write", pwritev2, (int fd, const struct iovec *parts, int count, off_t at, int flags),
        (fd, parts, count, at, flags))
PASS_ON("write", pwritev64v2, (int fd, const struct iovec *parts, int count, off64_t at, int flags),
        (fd, parts, count, at, flags))

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return fd_fails("sync", fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return fd_fails("sync", fd) ? -1 : real(fd);
}

int rename(const char *old, const char *new) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    if (folder != NULL && strcmp(kind, "rename") == 0 && is_below(new) && fails("rename", new)) {
        return -1;
    }
    return real(old, new);
}
