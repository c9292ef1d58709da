/* What the kernel alone costs: a server that knows nothing of Kafka and answers each request by the system calls that no
 * broker can leave out. What a broker costs beyond it under the same load is its own; what it costs below is nothing.
 *
 *   floor fetch FILE BYTES    head and BYTES of FILE, from ever other positions (pread and send; large ones send and sendfile)
 *   floor produce FILE        the request goes into FILE (pwrite); a head is the answer
 *
 * Says its port on stdout and serves until it is killed. A request is a length (4 bytes) and as many bytes; an answer is
 * zeros, so that the load generator finds no error code in it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 96, MAX_EVENTS = 64, RECEIVE_BYTES = 1 << 21, SHARED_BYTES = 60 * 1024, STRIDE = 1099 };
enum { COPIED_BYTES = 16 * 1024 }; /* a range of up to this size leaves in one call with its head */
enum { SEND_BUFFER_BYTES = 1 << 18 }; /* as socket.send.buffer.bytes: a larger one makes megabytes dearer */
enum { REWIND_BYTES = 1 << 28 }; /* of the file that is written: it begins again there */

typedef struct {
    int socket, waits_for_room;
    uint8_t *held;             /* of the request that is arriving */
    size_t held_bytes, answers; /* answers: not begun yet */
    size_t head_left, range_left;
    off_t range_at;
} Connection;

static int epoll, file;
static size_t range_bytes;
static off_t file_bytes, position;
static uint8_t head[HEAD_BYTES], copied[HEAD_BYTES + COPIED_BYTES];

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint32_t big_endian(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void begin_answer(Connection *c) {
    c->answers--;
    c->head_left = HEAD_BYTES;
    c->range_left = range_bytes;
    if (!range_bytes) return;
    if (position + (off_t)range_bytes > file_bytes) position = 0;
    c->range_at = position;
    position += (off_t)range_bytes + STRIDE; /* ranges of batches begin anywhere in a page */
}

/* A small answer as a whole: its reader waits for nothing else, so there is always room for it. */
static void answer_by_copy(Connection *c) {
    for (; c->answers; c->answers--) {
        size_t size = HEAD_BYTES + range_bytes;
        if (position + (off_t)range_bytes > file_bytes) position = 0;
        memcpy(copied, head, HEAD_BYTES);
        if (pread(file, copied + HEAD_BYTES, range_bytes, position) != (ssize_t)range_bytes) die("pread");
        if (send(c->socket, copied, size, MSG_NOSIGNAL) != (ssize_t)size) die("send");
        position += (off_t)range_bytes + STRIDE;
    }
}

static ssize_t send_some(Connection *c) {
    if (!c->head_left) return sendfile(c->socket, file, &c->range_at, c->range_left);
    int more = c->range_left && c->range_left <= SHARED_BYTES ? MSG_MORE : 0;
    return send(c->socket, head + HEAD_BYTES - c->head_left, c->head_left, MSG_NOSIGNAL | more);
}

static void answer(Connection *c) {
    int full = 0;
    while (!full && (c->head_left || c->range_left || c->answers)) {
        if (!c->head_left && !c->range_left) begin_answer(c);
        ssize_t sent = send_some(c);
        if (sent < 0 && errno != EAGAIN) die("send");
        if (sent < 0) full = 1;
        else if (c->head_left) c->head_left -= (size_t)sent;
        else c->range_left -= (size_t)sent;
    }
    if (full == c->waits_for_room) return;
    c->waits_for_room = full;
    struct epoll_event event = {.events = EPOLLIN | (full ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->socket, &event)) die("epoll_ctl");
}

/* Whole requests count; what was produced goes into the file by one call a reading. */
static void take(Connection *c) {
    size_t at = 0;
    while (c->held_bytes - at >= 4 && c->held_bytes - at >= 4 + (size_t)big_endian(c->held + at)) {
        at += 4 + big_endian(c->held + at);
        c->answers++;
    }
    if (!range_bytes && at) {
        if (pwrite(file, c->held, at, position) != (ssize_t)at) die("pwrite");
        position = (position + (off_t)at) % REWIND_BYTES;
    }
    c->held_bytes -= at;
    memmove(c->held, c->held + at, c->held_bytes);
}

static void receive(Connection *c) {
    ssize_t got = recv(c->socket, c->held + c->held_bytes, RECEIVE_BYTES - c->held_bytes, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        close(c->socket);
        free(c->held);
        free(c);
        return;
    }
    c->held_bytes += (size_t)got;
    take(c);
    if (range_bytes && range_bytes <= COPIED_BYTES) answer_by_copy(c);
    else answer(c);
}

static void adopt(int listener) {
    int on = 1;
    Connection *c = calloc(1, sizeof *c);
    c->held = malloc(RECEIVE_BYTES);
    c->socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (c->socket < 0) die("accept");
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->socket, &event)) die("epoll_ctl");
}

static int listen_anywhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), buffer = SEND_BUFFER_BYTES;
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64)) die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size)) die("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **given) {
    struct stat about;
    if (count == 4 && !strcmp(given[1], "fetch")) range_bytes = (size_t)atol(given[3]);
    else if (count != 3 || strcmp(given[1], "produce")) {
        fprintf(stderr, "usage: floor fetch FILE BYTES | floor produce FILE\n");
        return 2;
    }
    file = open(given[2], range_bytes ? O_RDONLY : O_RDWR | O_CREAT, 0600);
    if (file < 0 || fstat(file, &about)) die(given[2]);
    file_bytes = about.st_size;
    if ((size_t)file_bytes < range_bytes) {
        fprintf(stderr, "floor: FILE is shorter than BYTES\n");
        return 2;
    }
    uint32_t answer_bytes = htonl((uint32_t)(HEAD_BYTES - 4 + range_bytes));
    memcpy(head, &answer_bytes, 4);
    int listener = listen_anywhere();
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[MAX_EVENTS];
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) die("epoll_ctl");
    for (;;) {
        int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            Connection *c = events[i].data.ptr;
            if (!c) adopt(listener);
            else if (events[i].events & ~(uint32_t)EPOLLOUT) receive(c);
            else answer(c);
        }
    }
}
