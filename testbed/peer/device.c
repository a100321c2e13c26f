// The device, its memory and its queue pair, from nothing to ready to send.
#include "peer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct ibv_context *open_device(const char *name) {
    int count = 0;
    struct ibv_device **devices = ibv_get_device_list(&count);
    for (int i = 0; devices && i < count; i++) {
        if (strcmp(ibv_get_device_name(devices[i]), name) == 0) {
            struct ibv_context *device = ibv_open_device(devices[i]);
            if (!device) die("cannot open %s: %m", name);
            ibv_free_device_list(devices);
            return device;
        }
    }
    die("there is no RDMA device %s", name);
}

static enum ibv_mtu mtu_code(uint32_t mtu) {
    switch (mtu) {
    case 256: return IBV_MTU_256;
    case 512: return IBV_MTU_512;
    case 1024: return IBV_MTU_1024;
    case 2048: return IBV_MTU_2048;
    case 4096: return IBV_MTU_4096;
    default: die("a path MTU is 256, 512, 1024, 2048 or 4096, not %u", mtu);
    }
}

static struct ibv_mr *new_area(struct connection *self, uint8_t **area) {
    *area = aligned_alloc(4096, LENGTH);
    if (!*area) die("no memory");
    memset(*area, 0, LENGTH);
    int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
    struct ibv_mr *region = ibv_reg_mr(self->domain, *area, LENGTH, access);
    if (!region) die("cannot register memory: %m");
    return region;
}

void open_endpoint(struct connection *self, const char *device_name, int gid_index, uint32_t mtu) {
    mtu_code(mtu);
    self->device_name = device_name;
    self->gid_index = gid_index;
    self->device = open_device(device_name);
    self->domain = ibv_alloc_pd(self->device);
    if (!self->domain) die("cannot make a protection domain: %m");
    self->completions = ibv_create_cq(self->device, 4 * COUNT_MAX, NULL, NULL, 0);
    if (!self->completions) die("cannot make a completion queue: %m");
    self->target_region = new_area(self, &self->target);
    self->source_region = new_area(self, &self->source);

    struct ibv_qp_init_attr wanted = {
        .send_cq = self->completions,
        .recv_cq = self->completions,
        .cap = {.max_send_wr = COUNT_MAX, .max_recv_wr = COUNT_MAX, .max_send_sge = 1, .max_recv_sge = 1},
        .qp_type = IBV_QPT_RC,
        .sq_sig_all = 1,
    };
    self->pair = ibv_create_qp(self->domain, &wanted);
    if (!self->pair) die("cannot make a queue pair: %m");
    struct ibv_qp_attr init = {
        .qp_state = IBV_QPS_INIT,
        .port_num = 1,
        .qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
    };
    if (ibv_modify_qp(self->pair, &init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
        die("the queue pair does not initialize: %m");

    union ibv_gid gid;
    if (ibv_query_gid(self->device, 1, gid_index, &gid)) die("%s has no GID %d: %m", device_name, gid_index);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    self->local = (struct endpoint){
        .qpn = self->pair->qp_num,
        .psn = ((uint32_t)now.tv_nsec ^ (uint32_t)getpid() << 8) & 0xffffff,
        .mtu = mtu,
        .address = (uintptr_t)self->target,
        .rkey = self->target_region->rkey,
        .length = LENGTH,
    };
    inet_ntop(AF_INET6, gid.raw, self->local.gid, sizeof self->local.gid);
}

void connect_endpoint(struct connection *self, const struct endpoint *remote) {
    self->remote = *remote;
    self->mtu = remote->mtu < self->local.mtu ? remote->mtu : self->local.mtu;
    if (remote->length < AREA + GUARD) die("the other side's memory is too small: %lu bytes", (long)remote->length);
    struct ibv_qp_attr receive = {
        .qp_state = IBV_QPS_RTR,
        .path_mtu = mtu_code(self->mtu),
        .dest_qp_num = remote->qpn,
        .rq_psn = remote->psn,
        .max_dest_rd_atomic = READS_MAX,
        .min_rnr_timer = 12,
        .ah_attr = {.is_global = 1, .port_num = 1, .grh = {.hop_limit = 64, .sgid_index = self->gid_index}},
    };
    if (inet_pton(AF_INET6, remote->gid, receive.ah_attr.grh.dgid.raw) != 1) die("not a GID: %s", remote->gid);
    if (ibv_modify_qp(self->pair, &receive,
                      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                          IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
        die("the queue pair does not get ready to receive from %s: %m", remote->gid);
    struct ibv_qp_attr send = {
        .qp_state = IBV_QPS_RTS,
        .sq_psn = self->local.psn,
        .max_rd_atomic = READS_MAX,
        // Nearly 9 s. rxe of Linux 6.1 lets its timer run on when everything is acknowledged, and sends again whatever is
        // under way when it goes off; with the usual 67 ms these would be needless packets in every measurement.
        .timeout = 21,
        .retry_cnt = 7,
        .rnr_retry = 6,
    };
    if (ibv_modify_qp(self->pair, &send,
                      IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                          IBV_QP_RNR_RETRY))
        die("the queue pair does not get ready to send: %m");
}

static FILE *open_counter(const struct connection *self, const char *name, const char *mode) {
    char path[256];
    snprintf(path, sizeof path, "/sys/class/infiniband/%s/ports/1/hw_counters/%s", self->device_name, name);
    FILE *file = fopen(path, mode);
    if (!file) die("cannot open %s: %m", path);
    return file;
}

// The kernel answers with what it has read up to so many milliseconds before.
void precise_counters(const struct connection *self) {
    FILE *file = open_counter(self, "lifespan", "w");
    if (fputs("0", file) < 0 || fclose(file)) die("cannot set the counters' lifespan: %m");
}

static uint64_t counter(const struct connection *self, const char *name) {
    FILE *file = open_counter(self, name, "r");
    uint64_t value;
    if (fscanf(file, "%lu", &value) != 1) die("cannot read the counter %s", name);
    fclose(file);
    return value;
}

struct packets count_packets(const struct connection *self) {
    // Without a lifespan it still answers the same within a tick of its clock, 4 ms.
    usleep(12 * 1000);
    return (struct packets){.sent = counter(self, "sent_pkts"), .received = counter(self, "rcvd_pkts")};
}
