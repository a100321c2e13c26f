// Lines over TCP between driver and server.
#include "peer.h"

#include <netdb.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct talk talk_over(int socket) {
    // A side that is gone is an error sooner or later, whatever the other waits for.
    struct timeval patience = {.tv_sec = 3 * PATIENCE};
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return (struct talk){.in = fdopen(socket, "r"), .out = fdopen(dup(socket), "w")};
}

static struct addrinfo *resolve(const char *host, const char *port, int flags) {
    struct addrinfo hints = {.ai_flags = flags, .ai_socktype = SOCK_STREAM}, *found;
    if (!host) hints.ai_family = AF_INET6;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error) die("%s port %s: %s", host ? host : "any address", port, gai_strerror(error));
    return found;
}

struct talk listen_for_driver(const char *port) {
    struct addrinfo *where = resolve(NULL, port, AI_PASSIVE);
    int listener = socket(where->ai_family, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (listener < 0 || bind(listener, where->ai_addr, where->ai_addrlen) || listen(listener, 1))
        die("cannot listen on port %s: %m", port);
    freeaddrinfo(where);
    int driver = accept(listener, NULL, NULL);
    if (driver < 0) die("no driver: %m");
    close(listener);
    return talk_over(driver);
}

struct talk call_server(const char *host, const char *port) {
    struct addrinfo *where = resolve(host, port, 0);
    // The server was started just before, and may not listen yet.
    for (int attempt = 0; attempt < 10 * PATIENCE; attempt++) {
        int server = socket(where->ai_family, SOCK_STREAM, 0);
        if (server < 0) die("no socket: %m");
        if (connect(server, where->ai_addr, where->ai_addrlen) == 0) {
            freeaddrinfo(where);
            return talk_over(server);
        }
        close(server);
        usleep(100 * 1000);
    }
    die("%s port %s does not answer: %m", host, port);
}

void say(struct talk *self, const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(self->out, format, values);
    va_end(values);
    fputc('\n', self->out);
    fflush(self->out);
}

void hear(struct talk *self, char *line, size_t length) {
    if (!fgets(line, (int)length, self->in)) die("the other side said nothing more");
    line[strcspn(line, "\r\n")] = 0;
}

void exchange_endpoints(struct talk *self, struct connection *connection) {
    const struct endpoint *own = &connection->local;
    say(self, "endpoint qpn=%06x psn=%06x gid=%s mtu=%u address=%016lx rkey=%08x length=%lu", own->qpn, own->psn,
        own->gid, own->mtu, own->address, own->rkey, own->length);
    char line[512];
    struct endpoint other;
    hear(self, line, sizeof line);
    _Static_assert(sizeof other.gid > 45, "as long as the format below allows");
    if (sscanf(line, "endpoint qpn=%x psn=%x gid=%45s mtu=%u address=%lx rkey=%x length=%lu", &other.qpn, &other.psn,
               other.gid, &other.mtu, &other.address, &other.rkey, &other.length) != 7)
        die("not an endpoint: %s", line);
    connect_endpoint(connection, &other);
    say(self, "ready");
    hear(self, line, sizeof line);
    if (strcmp(line, "ready") != 0) die("not ready: %s", line);
}
