/* A load generator over raw sockets, so cheap that the broker is what is measured: it replays requests that were
 * encoded beforehand (bench/requests.py) and looks at nothing of an answer but its length and its error codes.
 *
 *   load HOST PORT [options] [PORT:]FILE...   one connection a FILE, to its own PORT where one is given; a FILE holds
 *                                             whole requests, lengths included
 *
 *   --in-flight N       unanswered requests a connection keeps (1)
 *   --threads N         connections are dealt out to N threads (1)
 *   --once              a FILE is sent once; without it, it begins again after its last request
 *   --rate R            requests a second over all connections, at set times: a latency counts from the time a request
 *                       was due, so a slow answer is not hidden by the requests that waited behind it (0: no pause)
 *   --warm-requests N, --warm-seconds S   first, not counted; whichever ends earlier (0: that one is no limit)
 *   --requests N, --seconds S             the counted part, likewise
 *   --codes A,B,...     where an answer has 16-bit error codes, counted from its length field; one that is not 0 is an error
 *   --pid P             (repeatable) a process whose CPU time over the counted part is told
 *
 * SIGTERM ends a part as its limit would: answers that are due are waited for, and all is told.
 * One line of JSON on stdout. A latency is kept in a bucket 1/64 of its size wide.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CODES = 256, MAX_PIDS = 64, MAX_EVENTS = 256, RECEIVE_BYTES = 1 << 18, SILENCE_MS = 60000 };
enum { SUB_BITS = 6, BUCKETS = (64 - SUB_BITS + 1) << SUB_BITS };

typedef struct {
    int socket;
    const uint8_t *content;    /* the file */
    size_t *starts;            /* where each request begins; one more for the end */
    size_t requests, next;     /* next: the request to send after those of the range */
    size_t range_at, range_end; /* bytes on their way out */
    long unsent;               /* requests allowed to go out that are in no range yet */
    int waits_for_room;
    uint64_t *due;             /* ring of in_flight times */
    int due_head, unanswered;
    uint8_t *head;             /* the first bytes of the answer that is arriving */
    size_t head_held;
    uint64_t answer_bytes, answer_held; /* 0: its length is not known yet */
} Connection;

typedef struct {
    int number, epoll, connections;
    Connection **own;
    uint8_t *receive;
    uint64_t buckets[BUCKETS], longest, last_answer, answered, errors, bytes;
    int first_error, turn;
    long begun;                /* requests of this phase that were allowed out */
} Thread;

static const char *host;
static int port, in_flight = 1, threads = 1, once;
static double rate, warm_seconds, seconds;
static long warm_requests, requests;
static int codes[MAX_CODES], code_count;
static size_t head_bytes = 4;
static int pids[MAX_PIDS], pid_count;
static pthread_barrier_t warmed, counted;
static volatile sig_atomic_t ended;

static void end_soon(int number) {
    (void)number;
    ended = 1;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

static uint64_t now_ns(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) die("clock");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t big_endian(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int bucket_of(uint64_t ns) {
    if (ns < 1u << SUB_BITS) return (int)ns;
    int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
    return ((shift + 1) << SUB_BITS) + (int)((ns >> shift) & ((1u << SUB_BITS) - 1));
}

static uint64_t middle_of(int bucket) {
    if (bucket < 1 << SUB_BITS) return (uint64_t)bucket;
    int shift = (bucket >> SUB_BITS) - 1;
    uint64_t low = (uint64_t)((1 << SUB_BITS) + (bucket & ((1 << SUB_BITS) - 1))) << shift;
    return low + (((uint64_t)1 << shift) >> 1);
}

static void open_file(Connection *c, const char *name) {
    struct stat about;
    int file = open(name, O_RDONLY);
    if (file < 0 || fstat(file, &about)) die(name);
    size_t size = (size_t)about.st_size, room = 1024;
    if (size < 4) die("an empty file of requests");
    c->content = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (c->content == MAP_FAILED) die("mmap");
    close(file);
    c->starts = malloc(room * sizeof *c->starts);
    for (size_t at = 0; at < size; at += 4 + big_endian(c->content + at)) {
        if (c->requests + 2 > room) c->starts = realloc(c->starts, (room *= 2) * sizeof *c->starts);
        c->starts[c->requests++] = at;
    }
    c->starts[c->requests] = size;
}

static void dial(Connection *c, int to) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)to)};
    int on = 1;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("HOST must be an IPv4 address");
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (c->socket < 0 || connect(c->socket, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
}

static void watch(Thread *t, Connection *c, int change) {
    struct epoll_event event = {.events = EPOLLIN | (c->waits_for_room ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(t->epoll, change, c->socket, &event)) die("epoll_ctl");
}

/* Requests lie one after another in the file, so those that go out together go in one call. */
static int next_range(Connection *c) {
    if (c->range_at < c->range_end) return 1;
    if (!c->unsent) return 0;
    if (c->next == c->requests) c->next = 0;
    size_t count = c->requests - c->next;
    if (count > (size_t)c->unsent) count = (size_t)c->unsent;
    c->range_at = c->starts[c->next];
    c->next += count;
    c->range_end = c->starts[c->next];
    c->unsent -= (long)count;
    return 1;
}

static void send_allowed(Thread *t, Connection *c) {
    int full = 0;
    while (!full && next_range(c)) {
        ssize_t sent = send(c->socket, c->content + c->range_at, c->range_end - c->range_at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) die("send");
        if (sent < 0) full = 1;
        else c->range_at += (size_t)sent;
    }
    if (full != c->waits_for_room) {
        c->waits_for_room = full;
        watch(t, c, EPOLL_CTL_MOD);
    }
}

static int is_spent(const Connection *c) {
    return once && c->next + (size_t)c->unsent >= c->requests;
}

static void allow(Thread *t, Connection *c, uint64_t due) {
    c->due[(c->due_head + c->unanswered++) % in_flight] = due;
    c->unsent++;
    t->begun++;
}

static void end_answer(Thread *t, Connection *c, uint64_t at) {
    uint64_t took = at > c->due[c->due_head] ? at - c->due[c->due_head] : 0;
    c->due_head = (c->due_head + 1) % in_flight;
    c->unanswered--;
    t->buckets[bucket_of(took)]++;
    if (took > t->longest) t->longest = took;
    t->last_answer = at;
    t->answered++;
    t->bytes += c->answer_bytes;
    for (int i = 0; i < code_count; i++) {
        int code = (size_t)codes[i] + 2 > c->answer_bytes ? -32768 : (int16_t)(c->head[codes[i]] << 8 | c->head[codes[i] + 1]);
        if (!code) continue;
        t->errors++;
        if (!t->first_error) t->first_error = code;
        break;
    }
    c->answer_bytes = c->answer_held = c->head_held = 0;
}

static void take(Thread *t, Connection *c, const uint8_t *from, size_t count, uint64_t at) {
    while (count) {
        size_t wanted = c->answer_bytes ? c->answer_bytes - c->answer_held : 4 - c->answer_held;
        size_t taken = wanted < count ? wanted : count;
        if (c->head_held < head_bytes) {
            size_t kept = head_bytes - c->head_held < taken ? head_bytes - c->head_held : taken;
            memcpy(c->head + c->head_held, from, kept);
            c->head_held += kept;
        }
        c->answer_held += taken, from += taken, count -= taken;
        if (!c->answer_bytes && c->answer_held == 4) c->answer_bytes = 4 + (uint64_t)big_endian(c->head);
        if (c->answer_bytes && c->answer_held == c->answer_bytes) end_answer(t, c, at);
    }
}

static void receive(Thread *t, Connection *c, uint64_t at) {
    for (;;) {
        ssize_t got = recv(c->socket, t->receive, RECEIVE_BYTES, 0);
        if (got < 0 && errno == EAGAIN) return;
        errno = got < 0 ? errno : 0;
        if (got <= 0) die("the broker closed the connection");
        take(t, c, t->receive, (size_t)got, at);
        if (got < RECEIVE_BYTES) return;
    }
}

static void wait_for_events(Thread *t, uint64_t wait_ns) {
    struct epoll_event events[MAX_EVENTS];
    struct timespec wait = {(time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u)};
    struct pollfd epoll = {t->epoll, POLLIN, 0};
    int count = epoll_wait(t->epoll, events, MAX_EVENTS, 0);
    if (!count && ppoll(&epoll, 1, &wait, NULL) > 0) count = epoll_wait(t->epoll, events, MAX_EVENTS, 0);
    uint64_t at = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        Connection *c = events[i].data.ptr;
        if (events[i].events & ~(uint32_t)EPOLLOUT) receive(t, c, at);
        if (events[i].events & EPOLLOUT) send_allowed(t, c);
    }
}

/* A connection in turn that may send one more; NULL when all are full. */
static Connection *next_free(Thread *t) {
    for (int tried = 0; tried < t->connections; tried++) {
        Connection *c = t->own[t->turn];
        t->turn = (t->turn + 1) % t->connections;
        if (c->unanswered < in_flight && !is_spent(c)) return c;
    }
    return NULL;
}

static void phase(Thread *t, long most_requests, double most_seconds) {
    uint64_t begun = now_ns(CLOCK_MONOTONIC), heard = begun, pause = rate > 0 ? (uint64_t)(1e9 * threads / rate) : 0, due = begun;
    uint64_t end = most_seconds > 0 ? begun + (uint64_t)(most_seconds * 1e9) : UINT64_MAX;
    long most = most_requests > 0 ? (most_requests + threads - 1) / threads : INT64_MAX;
    memset(t->buckets, 0, sizeof t->buckets);
    t->answered = t->errors = t->bytes = t->longest = 0, t->first_error = 0, t->begun = 0, t->last_answer = begun;
    if (most_requests <= 0 && most_seconds <= 0) return;
    for (;;) {
        uint64_t at = now_ns(CLOCK_MONOTONIC), wait = 100000000u;
        int open = !ended && at < end && t->begun < most, unanswered = 0, spent = 1;
        for (int i = 0; i < t->connections; i++) {
            Connection *c = t->own[i];
            while (open && !pause && c->unanswered < in_flight && t->begun < most && !is_spent(c)) allow(t, c, at);
            spent &= is_spent(c);
        }
        while (open && pause && due <= at && t->begun < most) {
            Connection *c = next_free(t);
            if (!c) break;
            allow(t, c, due);
            due += pause;
        }
        for (int i = 0; i < t->connections; i++) {
            if (t->own[i]->unsent) send_allowed(t, t->own[i]);
            unanswered += t->own[i]->unanswered;
        }
        if (!unanswered && (!open || spent)) return;
        if (t->last_answer > heard || !unanswered) heard = t->last_answer > heard ? t->last_answer : at;
        errno = 0;
        if (at > heard && at - heard > SILENCE_MS * 1000000ull) die("no answer for a minute");
        if (open && pause) wait = due > at ? due - at : 1000000u;
        wait_for_events(t, wait < 100000000u ? wait : 100000000u);
    }
}

static void *run_thread(void *of) {
    Thread *t = of;
    phase(t, warm_requests, warm_seconds);
    pthread_barrier_wait(&warmed);
    pthread_barrier_wait(&counted);
    phase(t, requests, seconds);
    return NULL;
}

static uint64_t cpu_of_pids(void) {
    uint64_t sum = 0;
    for (int i = 0; i < pid_count; i++) {
        clockid_t clock;
        if (!clock_getcpuclockid(pids[i], &clock)) sum += now_ns(clock);
    }
    return sum;
}

static double microseconds_at(const uint64_t *buckets, uint64_t count, double share) {
    uint64_t before = 0, wanted = (uint64_t)(share * (double)count);
    for (int i = 0; i < BUCKETS; i++)
        if ((before += buckets[i]) > wanted) return (double)middle_of(i) / 1000;
    return 0;
}

static void tell(Thread *all, uint64_t begun, uint64_t broker_ns, uint64_t own_ns) {
    static uint64_t buckets[BUCKETS];
    uint64_t answered = 0, errors = 0, bytes = 0, longest = 0, last = begun;
    int first_error = 0;
    for (int n = 0; n < threads; n++) {
        Thread *t = &all[n];
        for (int i = 0; i < BUCKETS; i++) buckets[i] += t->buckets[i];
        answered += t->answered, errors += t->errors, bytes += t->bytes;
        if (t->longest > longest) longest = t->longest;
        if (t->last_answer > last) last = t->last_answer;
        if (!first_error) first_error = t->first_error;
    }
    printf("{\"requests\": %lu, \"seconds\": %.6f, \"errors\": %lu, \"first_error\": %d, \"answer_bytes\": %lu, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"longest_us\": %.1f, \"broker_us\": %.1f, \"client_us\": %.1f}\n",
           answered, (double)(last - begun) / 1e9, errors, first_error, bytes, microseconds_at(buckets, answered, 0.5),
           microseconds_at(buckets, answered, 0.99), microseconds_at(buckets, answered, 0.999), (double)longest / 1000,
           (double)broker_ns / 1000, (double)own_ns / 1000);
}

static void read_codes(char *text) {
    for (char *at = strtok(text, ","); at; at = strtok(NULL, ",")) {
        if (code_count == MAX_CODES) die("too many --codes");
        codes[code_count] = atoi(at);
        if ((size_t)codes[code_count] + 2 > head_bytes) head_bytes = (size_t)codes[code_count] + 2;
        code_count++;
    }
}

static int read_option(char **at) {
    char *name = at[0], *value = at[1];
    if (!strcmp(name, "--once")) return once = 1;
    if (!value) die("an option needs a value");
    if (!strcmp(name, "--in-flight")) in_flight = atoi(value);
    else if (!strcmp(name, "--threads")) threads = atoi(value);
    else if (!strcmp(name, "--rate")) rate = atof(value);
    else if (!strcmp(name, "--warm-requests")) warm_requests = atol(value);
    else if (!strcmp(name, "--warm-seconds")) warm_seconds = atof(value);
    else if (!strcmp(name, "--requests")) requests = atol(value);
    else if (!strcmp(name, "--seconds")) seconds = atof(value);
    else if (!strcmp(name, "--codes")) read_codes(value);
    else if (!strcmp(name, "--pid") && pid_count < MAX_PIDS) pids[pid_count++] = atoi(value);
    else die(name);
    return 2;
}

static Thread *prepare(char **files, int count) {
    Thread *all = calloc((size_t)threads, sizeof *all);
    for (int n = 0; n < threads; n++) {
        all[n].number = n;
        all[n].epoll = epoll_create1(0);
        all[n].own = calloc((size_t)count, sizeof(Connection *));
        all[n].receive = malloc(RECEIVE_BYTES);
    }
    for (int i = 0; i < count; i++) {
        Connection *c = calloc(1, sizeof *c);
        Thread *t = &all[i % threads];
        c->due = calloc((size_t)in_flight, sizeof *c->due);
        c->head = calloc(1, head_bytes);
        char *name = files[i];
        long own = strtol(files[i], &name, 10);
        int has_own = name > files[i] && *name == ':';
        open_file(c, has_own ? name + 1 : files[i]);
        dial(c, has_own ? (int)own : port);
        t->own[t->connections++] = c;
        watch(t, c, EPOLL_CTL_ADD);
    }
    return all;
}

int main(int count, char **given) {
    int at = 3;
    errno = 0;
    if (count < 4) die("usage: load HOST PORT [options] FILE...");
    host = given[1], port = atoi(given[2]);
    while (at < count && !strncmp(given[at], "--", 2)) at += read_option(given + at);
    if (at == count || in_flight < 1 || threads < 1 || threads > count - at) die("FILE, --in-flight or --threads is missing or wrong");
    if (requests <= 0 && seconds <= 0 && !once) die("--requests or --seconds is needed");
    if (requests <= 0 && seconds <= 0) requests = INT64_MAX - threads;
    signal(SIGTERM, end_soon);
    Thread *all = prepare(given + at, count - at);
    pthread_t *running = calloc((size_t)threads, sizeof *running);
    pthread_barrier_init(&warmed, NULL, (unsigned)threads + 1);
    pthread_barrier_init(&counted, NULL, (unsigned)threads + 1);
    for (int n = 0; n < threads; n++)
        if (pthread_create(&running[n], NULL, run_thread, &all[n])) die("pthread_create");
    pthread_barrier_wait(&warmed);
    uint64_t broker = cpu_of_pids(), own = now_ns(CLOCK_PROCESS_CPUTIME_ID), begun = now_ns(CLOCK_MONOTONIC);
    pthread_barrier_wait(&counted);
    for (int n = 0; n < threads; n++) pthread_join(running[n], NULL);
    broker = cpu_of_pids() - broker, own = now_ns(CLOCK_PROCESS_CPUTIME_ID) - own;
    tell(all, begun, broker, own);
    return 0;
}
