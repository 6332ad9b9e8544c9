package bridge

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// WatchRoutes reports changes of the host's addresses and routes, such as a
// cable plugged in or a lease renewed, until ctx ends. Changes that come close
// together are reported once.
func WatchRoutes(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	// A receive time-out lets the reader notice the end of ctx: closing the
	// descriptor from elsewhere would not wake a blocked read.
	timeout := unix.Timeval{Sec: 1}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	events := make(chan struct{}, 1)
	go func() {
		defer func() { _ = unix.Close(fd) }()
		buf := make([]byte, 8<<10)
		for ctx.Err() == nil {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err == nil && n > 0 || err == unix.ENOBUFS {
				select {
				case events <- struct{}{}:
				default:
				}
			}
		}
	}()
	return events, nil
}
