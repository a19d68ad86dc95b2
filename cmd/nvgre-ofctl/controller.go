package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/internal/heappace"
)

// heapBudget is what the controller's heap may grow to, in octets, while what
// lives in it leaves the room.
const heapBudget = 768 << 20

func controllerCmd(version string) *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller",
		Long: `Run the controller in the foreground until SIGTERM or SIGINT. Switches keep
forwarding when it ends, however it ends. SIGHUP reads the policy again; changes
of the policy file are noticed without it.

Settings come from the file, over it from the environment (NVGRE_*), over that
from the flags. docs/SETTINGS.md describes each.`,
		Example:           "  nvgre-ofctl controller --config /etc/nvgre-ofctl/nvgre.yaml\n  nvgre-ofctl controller --policy policy.yaml --host name=h1,ovsdb=unix:/run/openvswitch/db.sock,openflow=unix:/run/openvswitch/br-int.mgmt",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&config, "config", "", "the settings file (default $"+settings.ConfigEnv+", else "+settings.DefaultFile+" where it exists)")
	settings.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := loadSettings(cmd, config)
		if err != nil {
			return err
		}
		reload := make(chan struct{}, 1)
		stop := onHangup(cmd.Context(), reload)
		defer stop()
		c, err := controller.New(s, controller.Options{Version: version, Log: logger(cmd.ErrOrStderr(), s.Log), Reload: reload})
		if err != nil {
			return withCode(codeInput, err)
		}
		heappace.Keep(cmd.Context(), heapBudget)
		return c.Run(cmd.Context())
	}
	return cmd
}

// loadSettings reads the settings with the flags that cmd has.
func loadSettings(cmd *cobra.Command, config string) (*settings.Settings, error) {
	s, err := settings.Load(settings.FindFile(config), cmd.Flags())
	return s, withCode(codeInput, err)
}

func logger(w io.Writer, l settings.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// onHangup passes SIGHUP on until ctx ends. The result ends it and waits.
func onHangup(ctx context.Context, reload chan<- struct{}) (stop func()) {
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-sig:
				select {
				case reload <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	return func() {
		signal.Stop(sig)
		cancel()
		<-done
	}
}
