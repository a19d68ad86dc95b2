// Command nvgre-ofctl is an NVGRE / Hyper-V Network Virtualization controller
// for Open vSwitch, and the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker; "" where somebody built it by go build or
// go install.
var version string

// versionOf returns the version given, else what the go command has noted.
func versionOf(version string) string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "unknown"
	}
	return info.Main.Version
}

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)

	root := newRoot(versionOf(version))
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return codeInterrupted
	}
	if err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintln(os.Stderr, "nvgre-ofctl: "+text)
		}
	}
	return exitCode(err)
}
