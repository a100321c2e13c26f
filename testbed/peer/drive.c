// The plan: every operation in both directions with every size, and the packets that each step may take.
#include "peer.h"

#include <string.h>

static const char *const directions[] = {"performs", "expects"};
enum { PERFORMS, EXPECTS };

// One line to the server, which answers `ok`.
static bool tell(struct talk *talk, const char *verb, const struct step *step) {
    say(talk, "%s op=%s size=%u count=%u seed=%u", verb, operation_names[step->operation], step->size, step->count,
        step->seed);
    char line[512];
    hear(talk, line, sizeof line);
    if (strcmp(line, "ok") == 0) return true;
    snprintf(trouble, sizeof trouble, "the other side, told to %s: %.200s", verb, line);
    return false;
}

static bool run_step(struct talk *talk, struct connection *self, int direction, const struct step *step) {
    if (direction == PERFORMS)
        return tell(talk, "expect", step) && perform(self, step) && tell(talk, "check", step);
    return expect(self, step) && tell(talk, "perform", step) && check(self, step);
}

static uint64_t divide_up(uint64_t whole, uint64_t part) { return (whole + part - 1) / part; }

// What the step takes without a needless packet: the packets of its messages from the one side, and from the other an
// acknowledgement for each message and for each AckReq within a long one, which rxe sets after 64 packets. A long READ may
// be asked for in pieces, so that its packets do not come all at once.
static struct packets ideal(const struct connection *self, int direction, const struct step *step) {
    enum { PACKETS_PER_ACKREQ = 64, PACKETS_PER_READ = 32 };
    uint64_t packets = step->size ? divide_up(step->size, self->mtu) : 1;
    uint64_t forth = step->count * packets, back = step->count * divide_up(packets, PACKETS_PER_ACKREQ);
    if (step->operation == READ) {
        back = step->count * packets;
        forth = step->count * divide_up(packets, PACKETS_PER_READ);
    }
    return direction == PERFORMS ? (struct packets){.sent = forth, .received = back}
                                 : (struct packets){.sent = back, .received = forth};
}

// A tenth more than ideal, as whole packets.
static bool within(uint64_t packets, uint64_t ideal) { return packets * 10 <= ideal * 11; }

// Runs the step and returns whether it left the right bytes. Adds what it took and what it should have taken; `counted`
// is what had been counted before it, and is after it.
static bool measure(struct talk *talk, struct connection *self, int direction, const struct step *step,
                    struct packets *counted, struct packets *taken, struct packets *should) {
    if (!run_step(talk, self, direction, step)) {
        printf("FAILED %s %s, %u × %u bytes: %s\n", directions[direction], operation_names[step->operation],
               step->count, step->size, trouble);
        return false;
    }
    struct packets before = *counted, wanted = ideal(self, direction, step);
    *counted = count_packets(self);
    struct packets was = {.sent = counted->sent - before.sent, .received = counted->received - before.received};
    if (!within(was.sent, wanted.sent) || !within(was.received, wanted.received))
        printf("more packets: %s %s, %u × %u bytes: sent %lu of %lu, received %lu of %lu\n", directions[direction],
               operation_names[step->operation], step->count, step->size, was.sent, wanted.sent, was.received,
               wanted.received);
    taken->sent += was.sent;
    taken->received += was.received;
    should->sent += wanted.sent;
    should->received += wanted.received;
    return true;
}

int drive(struct talk *talk, struct connection *self) {
    precise_counters(self);
    const uint32_t sizes[] = {0, 1, self->mtu - 1, self->mtu, self->mtu + 1, 64 << 10, 1 << 20};
    struct packets counted = count_packets(self);
    uint32_t seed = 1;
    bool good = true;
    for (int direction = PERFORMS; direction <= EXPECTS; direction++) {
        for (int operation = 0; operation < OPERATIONS; operation++) {
            struct packets taken = {0}, should = {0};
            for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
                // One alone, and then as many as there is memory for and may be under way at once.
                uint32_t most = sizes[size] ? AREA / sizes[size] : COUNT_MAX;
                uint32_t limit = operation == READ ? READS_MAX : COUNT_MAX;
                const uint32_t counts[] = {1, most < limit ? most : limit};
                for (int i = 0; i < 2; i++) {
                    struct step step = {operation, sizes[size], counts[i], seed++};
                    // After an error the queue pair takes no more work.
                    if (!measure(talk, self, direction, &step, &counted, &taken, &should)) return 1;
                }
            }
            bool frugal = within(taken.sent, should.sent) && within(taken.received, should.received);
            printf("%s %-9s %4s packets sent %5lu, ideal %5lu; received %5lu, ideal %5lu\n", directions[direction],
                   operation_names[operation], frugal ? "ok" : "FAIL", taken.sent, should.sent, taken.received,
                   should.received);
            fflush(stdout);
            good = good && frugal;
        }
    }
    say(talk, "quit");
    return good ? 0 : 1;
}

int drive_briefly(struct talk *talk, struct connection *self) {
    const uint32_t sizes[] = {0, 1, 2 * self->mtu + 1};
    uint32_t seed = 1;
    for (int operation = 0; operation < OPERATIONS; operation++)
        for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
            struct step step = {operation, sizes[size], 1, seed++};
            if (!run_step(talk, self, PERFORMS, &step)) die("%s, %u bytes: %s", operation_names[operation], step.size, trouble);
        }
    say(talk, "quit");
    return 0;
}
