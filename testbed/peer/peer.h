// A reliable-connected queue pair of the kernel, driven through libibverbs, and the talk between two such programs.
//
// The driver holds the plan and the checks; the serving side does as it is told. Either may be another program that
// speaks the same lines, which testbed/peer/README.md describes.
#ifndef PEER_H
#define PEER_H

#include <arpa/inet.h>
#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    AREA = 4 << 20,        // what the messages of one step may come to, in bytes
    GUARD = 64,            // bytes behind them that must stay as they are
    LENGTH = AREA + 4096,  // of the target and of the source
    COUNT_MAX = 64,        // messages in a step
    READS_MAX = 16,        // outstanding at once, as the queue pair allows
    PATIENCE = 20,         // seconds until a completion that does not come is an error
    UNTOUCHED = 0xA5,      // what the target is filled with before a step
};

enum operation { SEND, SEND_IMM, WRITE, WRITE_IMM, READ, OPERATIONS };

// What one step moves: `count` messages of `size` bytes, posted at once. Message i is filled from seed + i, lies
// i * size behind the start of source and target, and carries seed + i where it carries an immediate.
struct step {
    enum operation operation;
    uint32_t size;
    uint32_t count;
    uint32_t seed;
};

// What each side tells the other before they connect.
struct endpoint {
    uint32_t qpn;
    uint32_t psn;
    char gid[INET6_ADDRSTRLEN];
    uint32_t mtu;
    uint64_t address;
    uint32_t rkey;
    uint64_t length;
};

struct connection {
    const char *device_name;
    int gid_index;
    struct ibv_context *device;
    struct ibv_pd *domain;
    struct ibv_cq *completions;
    struct ibv_qp *pair;
    uint8_t *target;  // where the other side's messages arrive, and what it reads
    uint8_t *source;  // what this side sends and writes, and where it reads to
    struct ibv_mr *target_region;
    struct ibv_mr *source_region;
    struct endpoint local;
    struct endpoint remote;
    uint32_t mtu;  // the smaller of the two
};

// Packets that the device has sent and received since it was made.
struct packets {
    uint64_t sent;
    uint64_t received;
};

// device.c
void open_endpoint(struct connection *, const char *device_name, int gid_index, uint32_t mtu);
void connect_endpoint(struct connection *, const struct endpoint *remote);
void precise_counters(const struct connection *);
struct packets count_packets(const struct connection *);

// step.c. What goes wrong is described in `trouble`, which is empty otherwise.
extern char trouble[256];
extern const char *const operation_names[OPERATIONS];
bool expect(struct connection *, const struct step *);   // before the other side performs it
bool perform(struct connection *, const struct step *);  // until the last completion
bool check(struct connection *, const struct step *);    // after the other side has performed it

// talk.c
struct talk {
    FILE *in;
    FILE *out;
};
struct talk listen_for_driver(const char *port);
struct talk call_server(const char *host, const char *port);
void say(struct talk *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void hear(struct talk *, char *line, size_t length);
void exchange_endpoints(struct talk *, struct connection *);

// drive.c
int drive(struct talk *, struct connection *);
int drive_briefly(struct talk *, struct connection *);  // each kind of packet at least once, for captures

// main.c
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
