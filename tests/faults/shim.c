/* Makes the n-th call of one kind fail, on files below one folder: what a dying or a full disk does to a process.
 *
 * BARNABAS_SHIM  kind:errno:n:times:folder, and perhaps a second one behind a blank, which counts from the last failure of
 *                the first. Calls n .. n+times-1 on files below folder, or on folder itself if it is a file, fail with
 *                errno. kind is
 *                write, sync or rename;
 *                submit  io_submit of a write takes nothing;
 *                end     of a write that io_submit takes: half of its blocks are written, and io_getevents tells of errno,
 *                        or, if that is 0, how many bytes they are.
 *
 * Loaded by LD_PRELOAD. A call that fails in any other way does nothing; one line on stderr tells of each failure.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define PLANS_MAX 2
#define BLOCK_BYTES 4096
#define NO_FAULT (-1)

struct plan {
    char kind[16];
    int code;
    int first;
    int times;
    char folder[1024];
    atomic_int calls;
};

static struct plan plans[PLANS_MAX + 1]; /* the last one is of no kind */
static atomic_int at;

__attribute__((constructor)) static void configure(void) {
    const char *text = getenv("BARNABAS_SHIM");
    int size;
    for (int i = 0; text != NULL && i < PLANS_MAX; i++, text += size) {
        struct plan *plan = &plans[i];
        if (sscanf(text, " %15[^:]:%d:%d:%d:%1023s%n", plan->kind, &plan->code, &plan->first, &plan->times,
                   plan->folder, &size) != 5) {
            plan->kind[0] = '\0';
            return;
        }
    }
}

static int is_of(const char *asked) { return strcmp(plans[at].kind, asked) == 0; }

/* The number that this call fails with, or NO_FAULT. */
static int fault(const char *asked, const char *path) {
    struct plan *plan = &plans[at];
    size_t size = strlen(plan->folder);
    if (strcmp(plan->kind, asked) != 0 || strncmp(path, plan->folder, size) != 0 ||
        (path[size] != '/' && path[size] != '\0')) {
        return NO_FAULT;
    }
    int call = atomic_fetch_add(&plan->calls, 1) + 1;
    if (call < plan->first || call >= plan->first + plan->times) {
        return NO_FAULT;
    }
    if (call == plan->first + plan->times - 1) {
        atomic_fetch_add(&at, 1);
    }
    char line[PATH_MAX + 80];
    int length = snprintf(line, sizeof line, "shim: %s %d of %s fails with %d\n", asked, call, path, plan->code);
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    real(2, line, (size_t)length);
    return plan->code;
}

static int fd_fault(const char *asked, int fd) {
    if (!is_of(asked)) {
        return NO_FAULT;
    }
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) {
        return NO_FAULT;
    }
    path[size] = '\0';
    return fault(asked, path);
}

static int is_refused(int code) {
    if (code == NO_FAULT) {
        return 0;
    }
    errno = code;
    return 1;
}

#define PASS_ON(kind, name, parameters, arguments)                                                     \
    ssize_t name parameters {                                                                          \
        ssize_t(*real) parameters = dlsym(RTLD_NEXT, #name);                                           \
        return is_refused(fd_fault(kind, fd)) ? -1 : real arguments;                                   \
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
    return is_refused(fd_fault("sync", fd)) ? -1 : real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return is_refused(fd_fault("sync", fd)) ? -1 : real(fd);
}

int rename(const char *old, const char *new) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    return is_refused(fault("rename", new)) ? -1 : real(old, new);
}

typedef long (*system_call)(long, ...);

/* The kernel gives aio_data back with the end of the write; the broker leaves it 0. */
static long submit(system_call real, long context, const struct iocb *asked) {
    int fd = (int)asked->aio_fildes;
    if (is_refused(fd_fault("submit", fd))) {
        return -1;
    }
    struct iocb write = *asked;
    struct iocb *writes[] = {&write};
    int code = fd_fault("end", fd);
    if (code != NO_FAULT) {
        write.aio_data = (__u64)code;
        write.aio_nbytes = write.aio_nbytes / BLOCK_BYTES / 2 * BLOCK_BYTES;
        write.aio_rw_flags &= ~RWF_NOWAIT; /* or it might be refused for that */
    }
    return real(SYS_io_submit, context, 1L, writes);
}

long syscall(long number, ...) {
    system_call real = (system_call)dlsym(RTLD_NEXT, "syscall");
    long a[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(rest, long);
    }
    va_end(rest);
    if (number == SYS_io_submit && a[1] == 1) {
        return submit(real, a[0], *(const struct iocb **)a[2]);
    }
    long told = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    struct io_event *events = (struct io_event *)a[3];
    for (long i = 0; number == SYS_io_getevents && i < told; i++) {
        if (events[i].data != 0) {
            events[i].res = -(__s64)events[i].data;
        }
    }
    return told;
}
