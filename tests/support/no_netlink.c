/* Loaded into Chromium, so that it does not notice when a network interface is added or removed.

   It would end all its requests with ERR_NETWORK_CHANGED then, those to loopback too, and other tests start containers
   and namespaces at the same time. Without netlink it takes the network as unchanged. */

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int socket(int family, int type, int protocol) {
    if (family == AF_NETLINK) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return (int)syscall(SYS_socket, family, type, protocol);
}
