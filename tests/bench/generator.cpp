// The load: requests made beforehand by who starts this (load.py), sent and answered in one thread by epoll, so that to send them costs
// far less than to serve them.
//
//     plan on stdin ──▶ connections, each with its requests and a window ──▶ one line of JSON on stdout
//
// A connection (a lane) keeps `window` requests on their way, or, if there is a rate, sends them when they are due: then what is late counts as
// late from the moment at which it was due, whether it could be sent then or not. Of every answer the size and the first error code are looked
// at; what else there is of it stays in the kernel. A lane that tails reads the batches of another one, and knows when each of them was due.
// Whatever is not as it should be ends the program with a sentence on stderr, and the status 1.

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <ctime>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr int REQUESTS_AT_ONCE = 32;
constexpr size_t READ_BYTES = 1 << 14;
constexpr size_t DISCARDED_AT_ONCE = 1 << 20;
constexpr int64_t SECOND = 1'000'000'000;
constexpr int64_t PATIENCE = 30 * SECOND;

[[noreturn]] __attribute__((format(printf, 1, 2))) void give_up(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

int64_t now_on(clockid_t clock) {
    timespec time;
    if (clock_gettime(clock, &time) != 0) give_up("the broker is gone");
    return time.tv_sec * SECOND + time.tv_nsec;
}

int64_t now() { return now_on(CLOCK_MONOTONIC); }

// The plan: numbers as the machine has them, in the order in which load.py packs them.

template <typename T> T read_number() {
    T number;
    if (fread(&number, sizeof number, 1, stdin) != 1) give_up("the plan ends early");
    return number;
}

std::string read_bytes() {
    std::string bytes(read_number<uint32_t>(), '\0');
    if (fread(bytes.data(), 1, bytes.size(), stdin) != bytes.size()) give_up("the plan ends early");
    return bytes;
}

struct Lane {
    // Of the plan.
    uint32_t window;
    bool is_counted;          // else it is what the others are measured beside
    uint32_t error_at;        // where the first error code of an answer stands, from its length on
    uint32_t answer_bytes;    // with its length; 0: any
    bool is_bulky;            // what is behind the head of an answer is thrown away unread
    int32_t tailed;           // the lane whose batches are read; -1: none
    uint32_t offset_at;       // of who tails: where the offset stands in the request
    uint32_t records_at;      // and in the answer the size of the records
    uint32_t batch_bytes, batch_records;
    int64_t offset;
    std::vector<std::string> requests;

    int fd = -1;
    bool waits_to_send = false;
    // Sending.
    size_t next = 0;          // request to be sent, or being sent
    size_t sent_bytes = 0;    // of it
    uint64_t unsent = 0;      // requests that are wanted, `next` included
    uint64_t scheduled = 0;   // how many were wanted so far
    std::deque<int64_t> due;  // when each that has no answer was
    // Receiving.
    unsigned char head[READ_BYTES];
    size_t held = 0;
    uint64_t discarded = 0;   // bytes that are still to be thrown away
    uint64_t answered = 0;
    uint64_t batches = 0;     // read by who tails
    std::vector<int64_t> written;  // when each batch was due; kept if somebody tails this lane
    bool is_tailed = false;

    bool tails() const { return tailed >= 0; }
    size_t head_bytes() const { return tails() ? records_at + 5 : error_at + 2; }
};

struct Counts {
    uint64_t requests = 0, received_bytes = 0, batches = 0;
    int64_t wall = 0, broker_cpu = 0, own_cpu = 0;
};

struct Load {
    uint16_t port;
    clockid_t broker_clock;
    double warm_s, seconds, rate;  // requests a second, of all lanes that do not tail; 0: as fast as they are answered
    std::vector<Lane> lanes;
    std::vector<Lane *> paced;
    int poll = -1;
    int64_t begun = 0;
    uint64_t paced_so_far = 0;
    bool is_ending = false, is_measuring = false;
    Counts counts;
    std::vector<int64_t> latencies, delays;  // from due to answered; from due to read by who tails

    Counts counted() const {
        Counts here = counts;
        here.wall = now();
        here.broker_cpu = now_on(broker_clock);
        here.own_cpu = now_on(CLOCK_PROCESS_CPUTIME_ID);
        return here;
    }
};

void read_plan(Load &load) {
    load.port = read_number<uint16_t>();
    if (clock_getcpuclockid(read_number<int32_t>(), &load.broker_clock) != 0) give_up("the broker is gone");
    load.warm_s = read_number<double>();
    load.seconds = read_number<double>();
    load.rate = read_number<double>();
    load.lanes.resize(read_number<uint32_t>());
    for (Lane &lane : load.lanes) {
        lane.window = read_number<uint32_t>();
        lane.is_counted = read_number<uint8_t>();
        lane.error_at = read_number<uint32_t>();
        lane.answer_bytes = read_number<uint32_t>();
        lane.is_bulky = read_number<uint8_t>();
        lane.tailed = read_number<int32_t>();
        lane.offset_at = read_number<uint32_t>();
        lane.records_at = read_number<uint32_t>();
        lane.batch_bytes = read_number<uint32_t>();
        lane.batch_records = read_number<uint32_t>();
        lane.offset = read_number<int64_t>();
        for (uint32_t left = read_number<uint32_t>(); left; left--) lane.requests.push_back(read_bytes());
    }
    for (Lane &lane : load.lanes) {
        if (lane.tails()) load.lanes[lane.tailed].is_tailed = true;
        else if (load.rate > 0 && lane.is_counted) load.paced.push_back(&lane);
    }
}

void connect_all(Load &load) {
    load.poll = epoll_create1(0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(load.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (Lane &lane : load.lanes) {
        lane.fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(lane.fd, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) give_up("connect: %s", strerror(errno));
        int yes = 1;
        setsockopt(lane.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = &lane;
        epoll_ctl(load.poll, EPOLL_CTL_ADD, lane.fd, &event);
    }
}

// Sending

void watch_for_room(Load &load, Lane &lane, bool is_wanted) {
    if (lane.waits_to_send == is_wanted) return;
    lane.waits_to_send = is_wanted;
    epoll_event event{};
    event.events = is_wanted ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &lane;
    epoll_ctl(load.poll, EPOLL_CTL_MOD, lane.fd, &event);
}

// As much of what is wanted as the socket takes.
void send_wanted(Load &load, Lane &lane) {
    while (lane.unsent) {
        iovec parts[REQUESTS_AT_ONCE];
        size_t count = std::min<uint64_t>(lane.unsent, REQUESTS_AT_ONCE);
        for (size_t at = 0; at < count; at++) {
            std::string &request = lane.requests[(lane.next + at) % lane.requests.size()];
            size_t gone = at == 0 ? lane.sent_bytes : 0;
            parts[at] = {request.data() + gone, request.size() - gone};
        }
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = count;
        ssize_t sent = sendmsg(lane.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) give_up("send: %s", strerror(errno));
            break;
        }
        for (lane.sent_bytes += sent; lane.unsent && lane.sent_bytes >= lane.requests[lane.next].size(); lane.unsent--) {
            lane.sent_bytes -= lane.requests[lane.next].size();
            lane.next = (lane.next + 1) % lane.requests.size();
        }
    }
    watch_for_room(load, lane, lane.unsent);
}

void want(Lane &lane, int64_t due) {
    lane.due.push_back(due);
    if (lane.is_tailed) lane.written.push_back(due);
    lane.unsent++;
    lane.scheduled++;
}

int64_t when_due(const Load &load, uint64_t number) { return load.begun + static_cast<int64_t>(number / load.rate * SECOND); }

// Each lane in its turn. What finds its lane's window full keeps its time.
void send_due(Load &load, int64_t time) {
    for (; !load.is_ending && when_due(load, load.paced_so_far) <= time; load.paced_so_far++) {
        Lane &lane = *load.paced[load.paced_so_far % load.paced.size()];
        want(lane, when_due(load, load.paced_so_far));
        send_wanted(load, lane);
    }
}

void read_on(Load &load, Lane &lane) {
    for (int at = 0; at < 8; at++) lane.requests[0][lane.offset_at + at] = static_cast<char>(lane.offset >> (56 - 8 * at));
    want(lane, now());
    send_wanted(load, lane);
}

// Receiving

uint32_t unsigned_varint(const unsigned char *from) {
    uint32_t number = 0;
    for (int shift = 0; shift < 35; shift += 7, from++) {
        number |= static_cast<uint32_t>(*from & 0x7f) << shift;
        if (*from < 0x80) break;
    }
    return number;
}

void tailed(Load &load, Lane &lane, const unsigned char *head, int64_t time) {
    uint32_t length = unsigned_varint(head + lane.records_at);
    uint64_t batches = (length ? length - 1 : 0) / lane.batch_bytes;
    const Lane &writer = load.lanes[lane.tailed];
    if (lane.batches + batches > writer.written.size()) give_up("more is read than was written");
    for (uint64_t at = 0; at < batches && load.is_measuring; at++) load.delays.push_back(time - writer.written[lane.batches + at]);
    lane.batches += batches;
    load.counts.batches += batches;
    lane.offset += static_cast<int64_t>(batches) * lane.batch_records;
}

void answered(Load &load, Lane &lane, const unsigned char *head, uint64_t size, int64_t time) {
    if (lane.due.empty()) give_up("an answer to nothing");
    if (head[lane.error_at] || head[lane.error_at + 1]) give_up("refused: error %d", static_cast<int16_t>(head[lane.error_at] << 8 | head[lane.error_at + 1]));
    if (lane.answer_bytes && lane.answer_bytes != size) give_up("an answer of %lu bytes, not of %u", static_cast<unsigned long>(size), lane.answer_bytes);
    int64_t due = lane.due.front();
    lane.due.pop_front();
    lane.answered++;
    if (lane.tails()) {
        tailed(load, lane, head, time);
    } else if (lane.is_counted) {
        load.counts.requests++;
        load.counts.received_bytes += size;
        if (load.is_measuring) load.latencies.push_back(time - due);
    }
}

// The whole answers among what is held, or their heads; what is left of one is moved to the front.
uint64_t take_answers(Load &load, Lane &lane, int64_t time) {
    uint64_t count = 0;
    size_t begin = 0;
    while (lane.held - begin >= 4) {
        const unsigned char *head = lane.head + begin;
        uint64_t size = 4 + (static_cast<uint32_t>(head[0]) << 24 | head[1] << 16 | head[2] << 8 | head[3]);
        if (size < lane.error_at + 2) give_up("an answer of %lu bytes", static_cast<unsigned long>(size));
        if (lane.held - begin < std::min<uint64_t>(size, lane.head_bytes())) break;
        answered(load, lane, head, size, time);
        count++;
        size_t here = std::min<uint64_t>(size, lane.held - begin);
        lane.discarded = size - here;
        begin += here;
    }
    lane.held -= begin;
    memmove(lane.head, lane.head + begin, lane.held);
    return count;
}

void receive(Load &load, Lane &lane) {
    static unsigned char nowhere[DISCARDED_AT_ONCE];
    uint64_t count = 0;
    while (true) {
        ssize_t got;
        if (lane.discarded) {
            got = recv(lane.fd, nowhere, std::min<uint64_t>(lane.discarded, sizeof nowhere), MSG_DONTWAIT | MSG_TRUNC);
            if (got > 0) lane.discarded -= got;
        } else {
            size_t room = (lane.is_bulky ? lane.head_bytes() : sizeof lane.head) - lane.held;
            got = recv(lane.fd, lane.head + lane.held, room, MSG_DONTWAIT);
            if (got > 0) {
                lane.held += got;
                count += take_answers(load, lane, now());
                if (!lane.is_bulky && static_cast<size_t>(got) < room) break;
            }
        }
        if (got == 0) give_up("the broker ended the connection");
        if (got < 0 && errno == EAGAIN) break;
        if (got < 0) give_up("recv: %s", strerror(errno));
    }
    if (load.is_ending && !lane.tails()) return;
    if (lane.tails()) {
        if (count) read_on(load, lane);
    } else if (load.rate == 0 || !lane.is_counted) {
        for (int64_t time = now(); count; count--) want(lane, time);
        send_wanted(load, lane);
    }
}

// One round: whatever has come by then, and what is due.
void step(Load &load, int64_t until) {
    int64_t time = now(), wake = until;
    if (!load.paced.empty() && !load.is_ending) wake = std::min(wake, when_due(load, load.paced_so_far));
    int64_t left = std::max<int64_t>(wake - time, 0);
    timespec timeout{left / SECOND, left % SECOND};
    epoll_event events[64];
    int count = epoll_pwait2(load.poll, events, 64, &timeout, nullptr);
    for (int at = 0; at < count; at++) {
        Lane &lane = *static_cast<Lane *>(events[at].data.ptr);
        if (events[at].events & EPOLLOUT) send_wanted(load, lane);
        if (events[at].events & ~EPOLLOUT) receive(load, lane);
    }
    if (!load.paced.empty()) send_due(load, now());
}

bool has_all(const Load &load) {
    for (const Lane &lane : load.lanes) {
        if (lane.tails() ? lane.batches != load.lanes[lane.tailed].answered : !lane.due.empty()) return false;
    }
    return true;
}

void run(Load &load, Counts &before, Counts &after) {
    load.begun = now();
    for (Lane &lane : load.lanes) {
        if (lane.tails()) read_on(load, lane);
        else if (load.rate == 0 || !lane.is_counted) {
            for (uint32_t left = lane.window; left; left--) want(lane, load.begun);
            send_wanted(load, lane);
        }
    }
    int64_t measured = load.begun + static_cast<int64_t>(load.warm_s * SECOND), ended = measured + static_cast<int64_t>(load.seconds * SECOND);
    while (now() < measured) step(load, measured);
    before = load.counted();
    load.is_measuring = true;
    while (now() < ended) step(load, ended);
    after = load.counted();
    load.is_measuring = false;
    load.is_ending = true;
    for (int64_t patience = now() + PATIENCE; !has_all(load);) {
        if (now() > patience) give_up("%s", "not everything is answered, or read by who tails");
        step(load, patience);
    }
}

// What was found

void print_quantiles(const char *name, std::vector<int64_t> &of) {
    std::sort(of.begin(), of.end());
    printf(", \"%s\": [", name);
    const double quantiles[] = {0.5, 0.99, 0.999, 1.0};
    for (size_t at = 0; at < 4 && !of.empty(); at++) {
        size_t place = std::min<size_t>(of.size() - 1, static_cast<size_t>(quantiles[at] * of.size()));
        printf("%s%.2f", at ? ", " : "", of[place] / 1e3);
    }
    printf("]");
}

void print_found(Load &load, const Counts &before, const Counts &after) {
    printf("{\"wall_s\": %.6f, \"broker_cpu_s\": %.6f, \"load_cpu_s\": %.6f", (after.wall - before.wall) / 1e9, (after.broker_cpu - before.broker_cpu) / 1e9,
           (after.own_cpu - before.own_cpu) / 1e9);
    printf(", \"requests\": %lu, \"received_bytes\": %lu, \"batches_read\": %lu", after.requests - before.requests, after.received_bytes - before.received_bytes,
           after.batches - before.batches);
    print_quantiles("latency_us", load.latencies);
    print_quantiles("delay_us", load.delays);
    printf(", \"answered\": [");
    for (size_t at = 0; at < load.lanes.size(); at++) printf("%s%lu", at ? ", " : "", load.lanes[at].answered);
    printf("]}\n");
}

}  // namespace

int main() {
    static Load load;
    Counts before, after;
    prctl(PR_SET_TIMERSLACK, 1UL);  // what is due is sent when it is due
    read_plan(load);
    connect_all(load);
    run(load, before, after);
    print_found(load, before, after);
}
