// The command line, and the serving side.
//
//     peer serve [-d DEVICE] [-g GID-INDEX] [-m MTU] PORT
//     peer drive [-d DEVICE] [-g GID-INDEX] [-m MTU] [-b] HOST PORT      -b: briefly, for a capture
#include "peer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void die(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("peer: ", stderr);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

static _Noreturn void usage(void) {
    die("usage: peer serve [-d DEVICE] [-g GID-INDEX] [-m MTU] PORT, or peer drive [...] HOST PORT");
}

static bool parse_step(const char *line, const char **verb, struct step *step) {
    static const char *const verbs[] = {"expect", "perform", "check"};
    char said[16], operation[16];
    if (sscanf(line, "%15s op=%15s size=%u count=%u seed=%u", said, operation, &step->size, &step->count,
               &step->seed) != 5)
        return false;
    *verb = NULL;
    for (int i = 0; i < 3; i++)
        if (strcmp(said, verbs[i]) == 0) *verb = verbs[i];
    for (step->operation = 0; step->operation < OPERATIONS; step->operation++)
        if (strcmp(operation, operation_names[step->operation]) == 0) break;
    return *verb && step->operation < OPERATIONS && step->count <= COUNT_MAX &&
           (uint64_t)step->size * step->count <= AREA;
}

static int serve(struct talk *talk, struct connection *self) {
    char line[512];
    for (;;) {
        hear(talk, line, sizeof line);
        if (strcmp(line, "quit") == 0) return 0;
        struct step step;
        const char *verb;
        bool done = false;
        if (!parse_step(line, &verb, &step))
            snprintf(trouble, sizeof trouble, "not understood: %.200s", line);
        else if (*verb == 'e')
            done = expect(self, &step);
        else if (*verb == 'p')
            done = perform(self, &step);
        else
            done = check(self, &step);
        if (done)
            say(talk, "ok");
        else
            say(talk, "error %s", trouble);
    }
}

int main(int count, char **arguments) {
    const char *device = "rxe0";
    int gid_index = 2, option;
    uint32_t mtu = 4096;
    bool briefly = false;
    if (count < 2) usage();
    const char *role = arguments[1];
    optind = 2;
    while ((option = getopt(count, arguments, "d:g:m:b")) != -1) {
        switch (option) {
        case 'd': device = optarg; break;
        case 'g': gid_index = atoi(optarg); break;
        case 'm': mtu = (uint32_t)atoi(optarg); break;
        case 'b': briefly = true; break;
        default: usage();
        }
    }
    int rest = count - optind;
    bool drives = strcmp(role, "drive") == 0 && rest == 2, serves = strcmp(role, "serve") == 0 && rest == 1;
    if (!drives && !serves) usage();

    struct connection connection = {0};
    open_endpoint(&connection, device, gid_index, mtu);
    struct talk talk = serves ? listen_for_driver(arguments[optind]) : call_server(arguments[optind], arguments[optind + 1]);
    exchange_endpoints(&talk, &connection);
    if (serves) return serve(&talk, &connection);
    return briefly ? drive_briefly(&talk, &connection) : drive(&talk, &connection);
}
