package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// The exit codes. exitCodes documents them.
const (
	codeOK          = 0
	codeFailed      = 1
	codeUsage       = 2
	codeInput       = 3
	codeUnreachable = 4
	codeUnhealthy   = 5
	codeInterrupted = 130
)

// exitCodes is the one table of `nvgre-ofctl help exit-codes`.
func exitCodes() [][2]string {
	return [][2]string{
		{"0", "All is well. The controller also ends with it on SIGTERM and SIGINT."},
		{"1", "The command failed, or found what should not be (diff, testbed pingall: a difference; verify: a counterexample; doctor: something wrong)."},
		{"2", "The command line is wrong: unknown command or flag, missing or surplus argument."},
		{"3", "An input is wrong or missing: policy, settings, topology, or what the API refuses."},
		{"4", "A controller or a switch does not answer."},
		{"5", "status: the controller answers, and something needs an operator; wait: the time is over."},
		{"130", "Interrupted by SIGINT or SIGTERM."},
	}
}

func exitCodesText() string {
	var b strings.Builder
	b.WriteString("The exit codes of nvgre-ofctl:\n\n")
	for _, c := range exitCodes() {
		fmt.Fprintf(&b, "  %-4s %s\n", c[0], c[1])
	}
	return b.String()
}

// exitError gives an error an exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }
func (e *exitError) ExitCode() int { return e.code }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

func usagef(format string, args ...any) error {
	return withCode(codeUsage, fmt.Errorf(format, args...))
}

// exitCode returns the code that the process ends with. Any error may bring its
// own by a method ExitCode.
func exitCode(err error) int {
	var own interface{ ExitCode() int }
	var policy *policyfile.Error
	var set *settings.Error
	switch {
	case err == nil:
		return codeOK
	case errors.As(err, &own):
		return own.ExitCode()
	case errors.As(err, &policy), errors.As(err, &set):
		return codeInput
	case errors.Is(err, syscall.ECONNREFUSED):
		return codeUnreachable
	}
	return codeFailed
}
