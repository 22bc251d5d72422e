// What the kernel takes of a produce, or of a fetch, when nothing else is done: no broker that keeps its log in files can cost less.
//
//     floor FOLDER ANSWER_BYTES HELD_BYTES     a port of loopback, which is printed
//
// One thread, epoll. What arrives is received, the whole requests of it are written to the page cache by one call, each is answered by so many
// bytes, all answers go by one call. With HELD_BYTES nothing is written, and an answer's bytes go from a file of that size to the socket unread.

#include <algorithm>
#include <arpa/inet.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr size_t BUFFER_BYTES = 1 << 20, READ_BYTES = 1 << 18;
constexpr size_t HEAD_BYTES = 64;  // of an answer whose other bytes come from a file

struct Connection {
    int fd, file;
    off_t end = 0;
    size_t held = 0;
    std::vector<char> buffer = std::vector<char>(BUFFER_BYTES);
};

std::string folder;
size_t answer_bytes, held_bytes;
int held_file = -1;

[[noreturn]] void give_up(const char *what) {
    perror(what);
    exit(1);
}

int opened(const std::string &name) {
    int file = open((folder + "/" + name).c_str(), O_CREAT | O_RDWR | O_TRUNC, 0644);
    if (file < 0) give_up("open");
    return file;
}

std::string answer_head() {
    std::string head(held_bytes ? HEAD_BYTES : answer_bytes, '\0');
    uint32_t length = htonl(answer_bytes - 4);
    memcpy(head.data(), &length, sizeof length);
    return head;
}

void send_from_file(Connection &connection) {
    static off_t place = 0;
    size_t left = answer_bytes - HEAD_BYTES;
    if (place + left > held_bytes) place = 0;
    while (left) {
        ssize_t sent = sendfile(connection.fd, held_file, &place, left);
        if (sent <= 0) return;
        left -= sent;
    }
}

void answer(Connection &connection, size_t requests) {
    static const std::string head = answer_head();
    if (held_bytes) {
        for (; requests; requests--) {
            send(connection.fd, head.data(), head.size(), MSG_NOSIGNAL | MSG_MORE);
            send_from_file(connection);
        }
    } else if (requests) {
        std::string all;
        for (; requests; requests--) all += head;
        send(connection.fd, all.data(), all.size(), MSG_NOSIGNAL);
    }
}

// false: the connection has ended
bool serve(Connection &connection) {
    char *buffer = connection.buffer.data();
    ssize_t got = recv(connection.fd, buffer + connection.held, std::min(BUFFER_BYTES - connection.held, READ_BYTES), 0);
    if (got <= 0) return false;
    connection.held += got;
    size_t whole = 0, requests = 0;
    while (connection.held - whole >= 4) {
        uint32_t length;
        memcpy(&length, buffer + whole, sizeof length);
        size_t size = 4 + ntohl(length);
        if (connection.held - whole < size) break;
        whole += size;
        requests++;
    }
    if (whole && !held_bytes) {
        if (pwrite(connection.file, buffer, whole, connection.end) != static_cast<ssize_t>(whole)) give_up("pwrite");
        connection.end += whole;
    }
    connection.held -= whole;
    memmove(buffer, buffer + whole, connection.held);
    answer(connection, requests);
    return true;
}

}  // namespace

int main(int, char **arguments) {
    folder = arguments[1];
    answer_bytes = strtoul(arguments[2], nullptr, 10);
    held_bytes = strtoul(arguments[3], nullptr, 10);
    if (held_bytes) {
        held_file = opened("held");
        std::vector<char> content(held_bytes);
        if (pwrite(held_file, content.data(), held_bytes, 0) != static_cast<ssize_t>(held_bytes)) give_up("pwrite");
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr *>(&address), size) || listen(listener, 64)) give_up("listen");
    getsockname(listener, reinterpret_cast<sockaddr *>(&address), &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int poll = epoll_create1(0);
    epoll_event event{};
    event.events = EPOLLIN;
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (int number = 0;;) {
        epoll_event events[64];
        int count = epoll_wait(poll, events, 64, -1);
        for (int at = 0; at < count; at++) {
            auto *connection = static_cast<Connection *>(events[at].data.ptr);
            if (!connection) {
                int fd = accept(listener, nullptr, nullptr);
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                event.data.ptr = new Connection{fd, opened(std::to_string(number++))};
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
            } else if (!serve(*connection)) {
                close(connection->fd);
                close(connection->file);
                delete connection;
            }
        }
    }
}
