package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// state is the folder where the lab keeps what is expensive and what is running. It lies outside the checkout.
//
//	engines/VERSION/data   images and containers of a private engine, kept from run to run
//	run                    socket, pid file and log of the private engine that runs now
//	bin, config            what Compose and the docker command line need
//	traefik-vX, replica    built binaries
//	servers-KEY            root folder of the image of real servers, for a state of its recipe
//	artifacts              what failed tests left to read
type state string

// maxSocketPath is the longest path that a unix socket may have on Linux, without its final zero.
const maxSocketPath = 107

// openState creates the state folder: $ROLL_LAB_DIR, or roll-lab in the user's cache folder.
func openState() (state, error) {
	dir := os.Getenv("ROLL_LAB_DIR")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder (set ROLL_LAB_DIR to name one): %w", err)
		}
		dir = filepath.Join(cache, "roll-lab")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	s := state(dir)
	if longest := s.path("run", "exec", "containerd", "containerd-debug.sock"); len(longest) > maxSocketPath {
		return "", fmt.Errorf("the lab's folder %s is too deep: the engine's socket %s would have a path of %d bytes, and %d is the limit; set ROLL_LAB_DIR to a shorter one",
			dir, longest, len(longest), maxSocketPath)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return s, nil
}

func (s state) path(parts ...string) string {
	return filepath.Join(append([]string{string(s)}, parts...)...)
}

// lock takes the named lock, which every process on this machine respects, and returns its release. It waits for as
// long as ctx lives: whoever holds it is building what this process needs.
func (s state) lock(ctx context.Context, name string) (release func(), err error) {
	f, err := os.OpenFile(s.path(name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	started := time.Now()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("lock %s, held by another process for %s: %w", f.Name(), time.Since(started).Round(time.Second), context.Cause(ctx))
		}
	}
}

// build creates the file at path through build, which writes to a temporary name beside it; a file that is there is
// complete. Only one process builds at a time, and the others find the result.
func (s state) build(ctx context.Context, path string, build func(tmp string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	release, err := s.lock(ctx, filepath.Base(path))
	if err != nil {
		return err
	}
	defer release()
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".part"
	if err := build(tmp); err != nil {
		_ = os.RemoveAll(tmp)
		return err
	}
	return os.Rename(tmp, path)
}
