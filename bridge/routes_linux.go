package bridge

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// changesTogether is how close changes lie that are reported as one.
const changesTogether = 250 * time.Millisecond

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
		tell := func() {
			select {
			case events <- struct{}{}:
			default:
			}
		}
		buf := make([]byte, 8<<10)
		for ctx.Err() == nil {
			if _, err := unix.Read(fd, buf); err != nil && err != unix.ENOBUFS {
				continue // no change within the second
			}
			tell()
			// What comes with it, such as the routes of a new address, waits
			// in the socket and is told of together.
			if sleep(ctx, changesTogether) != nil {
				return
			}
			more := false
			for {
				if _, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT); err != nil && err != unix.ENOBUFS {
					break
				}
				more = true
			}
			if more {
				tell()
			}
		}
	}()
	return events, nil
}
