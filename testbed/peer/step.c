// One step of the plan: messages posted at once, their completions, and the bytes that they leave.
#include "peer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

char trouble[256];
const char *const operation_names[OPERATIONS] = {"send", "send_imm", "write", "write_imm", "read"};

__attribute__((format(printf, 1, 2))) static bool wrong(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(trouble, sizeof trouble, format, values);
    va_end(values);
    return false;
}

// Differs between messages, and between the packets of a message at every path MTU.
static uint8_t pattern(uint32_t seed, uint32_t at) {
    return (uint8_t)(seed * 101 + at * 31 + (at >> 8) * 7 + (at >> 16) * 3);
}

static void fill(uint8_t *area, const struct step *step) {
    for (uint32_t message = 0; message < step->count; message++)
        for (uint32_t at = 0; at < step->size; at++)
            area[(size_t)message * step->size + at] = pattern(step->seed + message, at);
}

static bool compare(const uint8_t *area, const struct step *step) {
    for (uint32_t message = 0; message < step->count; message++)
        for (uint32_t at = 0; at < step->size; at++) {
            uint8_t is = area[(size_t)message * step->size + at], should = pattern(step->seed + message, at);
            if (is != should) return wrong("byte %u of message %u is %02x, should be %02x", at, message, is, should);
        }
    const uint8_t *behind = area + (size_t)step->size * step->count;
    for (int at = 0; at < GUARD; at++)
        if (behind[at] != UNTOUCHED) return wrong("byte %d behind the last message was written", at);
    return true;
}

static bool consumes_receives(enum operation operation) {
    return operation == SEND || operation == SEND_IMM || operation == WRITE_IMM;
}

// Waits for the completion of work request `id`: each comes once, in order.
static bool complete(struct connection *self, uint64_t id, struct ibv_wc *completion) {
    time_t deadline = time(NULL) + PATIENCE;
    int found;
    while ((found = ibv_poll_cq(self->completions, 1, completion)) == 0) {
        if (time(NULL) > deadline) return wrong("completion %lu did not come within %d s", (long)id, PATIENCE);
        // The other side may need this processor.
        usleep(50);
    }
    if (found < 0) return wrong("the completion queue cannot be polled");
    if (completion->status != IBV_WC_SUCCESS)
        return wrong("completion %lu: %s", (long)completion->wr_id, ibv_wc_status_str(completion->status));
    if (completion->wr_id != id) return wrong("completion %lu came before %lu", (long)completion->wr_id, (long)id);
    return true;
}

bool expect(struct connection *self, const struct step *step) {
    memset(self->target, UNTOUCHED, (size_t)step->size * step->count + GUARD);
    if (step->operation == READ) fill(self->target, step);
    if (!consumes_receives(step->operation)) return true;
    for (uint32_t message = 0; message < step->count; message++) {
        struct ibv_sge piece = {
            .addr = (uintptr_t)self->target + (uint64_t)message * step->size,
            .length = step->size,
            .lkey = self->target_region->lkey,
        };
        bool has_piece = step->size > 0 && step->operation != WRITE_IMM;
        struct ibv_recv_wr receive = {.wr_id = message, .sg_list = &piece, .num_sge = has_piece}, *bad;
        if (ibv_post_recv(self->pair, &receive, &bad)) return wrong("cannot post receive %u: %m", message);
    }
    return true;
}

bool check(struct connection *self, const struct step *step) {
    bool writes = step->operation == WRITE_IMM;
    for (uint32_t message = 0; consumes_receives(step->operation) && message < step->count; message++) {
        struct ibv_wc completion;
        if (!complete(self, message, &completion)) return false;
        if (completion.opcode != (writes ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV))
            return wrong("receive %u has opcode %d", message, completion.opcode);
        if (completion.byte_len != step->size)
            return wrong("receive %u has %u bytes, should have %u", message, completion.byte_len, step->size);
        bool has_immediate = completion.wc_flags & IBV_WC_WITH_IMM;
        if (has_immediate != (step->operation != SEND))
            return wrong("receive %u has %s immediate", message, has_immediate ? "an" : "no");
        if (has_immediate && ntohl(completion.imm_data) != step->seed + message)
            return wrong("receive %u has immediate %u, should be %u", message, ntohl(completion.imm_data),
                         step->seed + message);
    }
    return step->operation == READ || compare(self->target, step);
}

bool perform(struct connection *self, const struct step *step) {
    static const enum ibv_wr_opcode opcodes[OPERATIONS] = {
        IBV_WR_SEND, IBV_WR_SEND_WITH_IMM, IBV_WR_RDMA_WRITE, IBV_WR_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_READ,
    };
    memset(self->source, UNTOUCHED, (size_t)step->size * step->count + GUARD);
    if (step->operation != READ) fill(self->source, step);

    struct ibv_sge pieces[COUNT_MAX];
    struct ibv_send_wr requests[COUNT_MAX], *bad;
    for (uint32_t message = 0; message < step->count; message++) {
        uint64_t offset = (uint64_t)message * step->size;
        pieces[message] = (struct ibv_sge){
            .addr = (uintptr_t)self->source + offset,
            .length = step->size,
            .lkey = self->source_region->lkey,
        };
        requests[message] = (struct ibv_send_wr){
            .wr_id = message,
            .next = message + 1 < step->count ? &requests[message + 1] : NULL,
            .sg_list = &pieces[message],
            .num_sge = step->size > 0,
            .opcode = opcodes[step->operation],
            .imm_data = htonl(step->seed + message),
            .wr.rdma = {.remote_addr = self->remote.address + offset, .rkey = self->remote.rkey},
        };
    }
    if (ibv_post_send(self->pair, requests, &bad)) return wrong("cannot post: %m");
    for (uint32_t message = 0; message < step->count; message++) {
        struct ibv_wc completion;
        if (!complete(self, message, &completion)) return false;
    }
    return step->operation != READ || compare(self->source, step);
}
