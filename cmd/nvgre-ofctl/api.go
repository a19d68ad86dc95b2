package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// connection is how a command finds the controller's API.
type connection struct {
	config, socket, address, ca, certificate, key string
	timeout                                       time.Duration // 0: none
}

// addFlags adds the flags of the connection; timeout is the default of --timeout,
// 0 for no such flag.
func (c *connection) addFlags(cmd *cobra.Command, timeout time.Duration) {
	f := cmd.Flags()
	f.StringVar(&c.config, "config", "", "the controller's settings file (default $"+settings.ConfigEnv+", else "+settings.DefaultFile+" where it exists)")
	f.StringVar(&c.socket, "api-socket", "", "the controller's API socket, if not that of the settings")
	f.StringVar(&c.address, "api", "", "HOST:PORT of a controller that serves its API by TLS, instead of a socket")
	f.StringVar(&c.ca, "tls-ca", "", "with --api: the certificate of the controller's authority (PEM)")
	f.StringVar(&c.certificate, "tls-certificate", "", "with --api: the client's certificate (PEM)")
	f.StringVar(&c.key, "tls-private-key", "", "with --api: the private key of the client's certificate (PEM)")
	if timeout != 0 {
		f.DurationVar(&c.timeout, "timeout", timeout, "how long the controller may take")
	}
}

// named reports whether the command line says which API is to be asked.
func (c *connection) named() bool { return c != nil && (c.address != "" || c.socket != "") }

func (c *connection) client() (*client.Client, error) {
	if c.address == "" {
		if c.socket != "" {
			return client.Unix(c.socket), nil
		}
		s, err := settings.Load(settings.FindFile(c.config), nil)
		if err != nil {
			return nil, withCode(codeInput, err)
		}
		return client.Unix(s.APISocket), nil
	}
	if c.ca == "" || c.certificate == "" || c.key == "" {
		return nil, usagef("--api wants --tls-ca, --tls-certificate and --tls-private-key too")
	}
	pem, err := os.ReadFile(c.ca)
	if err != nil {
		return nil, withCode(codeInput, fmt.Errorf("--tls-ca: %w", err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, withCode(codeInput, fmt.Errorf("--tls-ca %s: has no certificate in it: want PEM", c.ca))
	}
	pair, err := tls.LoadX509KeyPair(c.certificate, c.key)
	if err != nil {
		return nil, withCode(codeInput, fmt.Errorf("--tls-certificate %s, --tls-private-key %s: %w", c.certificate, c.key, err))
	}
	return client.HTTPS(c.address, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}}), nil
}

// with calls f with a client and the time that the command has.
func (c *connection) with(cmd *cobra.Command, f func(ctx context.Context, c *client.Client) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	var once sync.Once
	cl.OnStale(func(reason string) {
		once.Do(func() { fmt.Fprintf(cmd.ErrOrStderr(), "the controller's answer may be stale: %s\n", reason) })
	})
	ctx := cmd.Context()
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	err = f(ctx, cl)
	if err != nil && cmd.Context().Err() != nil {
		return cmd.Context().Err()
	}
	return apiError(err)
}

// apiError gives an error of the API its exit code, and says what to do next.
func apiError(err error) error {
	var p *api.Problem
	var away *client.UnreachableError
	switch {
	case errors.As(err, &away):
		return withCode(codeUnreachable, err)
	case !errors.As(err, &p):
		return err
	}
	switch p.Type {
	case api.TypeInvalid, api.TypeTooLarge, api.TypeMediaType:
		return withCode(codeInput, err)
	case api.TypeUnavailable, api.TypeNoPolicy, api.TypeBusy:
		return withCode(codeUnreachable, err)
	case api.TypeCompacted:
		return fmt.Errorf("%w: see nvgre-ofctl get revisions", err)
	case api.TypeConflict:
		return fmt.Errorf("%w: look with nvgre-ofctl diff, then try again with the revision that is in force", err)
	}
	return err
}

// moment is the flags of the time that a command reads.
type moment struct {
	revision uint64
	at       string
}

func (m *moment) addFlags(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&m.revision, "revision", 0, "what was in force at this revision")
	cmd.Flags().StringVar(&m.at, "at", "", "what was in force at this time: 2026-01-31T12:00:00Z, '2026-01-31 12:00' by the local clock, or 90m ago as -90m")
	cmd.MarkFlagsMutuallyExclusive("revision", "at")
}

func (m *moment) add(q url.Values) error {
	if m.revision != 0 {
		q.Set("revision", strconv.FormatUint(m.revision, 10))
	}
	if m.at != "" {
		t, err := parseTime("at", m.at)
		if err != nil {
			return err
		}
		q.Set("at", t.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// parseTime reads a time as people write it.
func parseTime(flag, text string) (time.Time, error) {
	if strings.HasPrefix(text, "-") {
		if d, err := time.ParseDuration(text); err == nil {
			return time.Now().Add(d), nil
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, form := range []string{time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--%s is %q: want a time such as 2026-01-31T12:00:00Z, '2026-01-31 12:00' or -90m", flag, text)
}

// sources says where in a file the objects of a policy are.
type sources map[string]tenant.Position

func (s sources) add(o tenant.Object) {
	var at tenant.Position
	switch o := o.(type) {
	case tenant.HostObject:
		at = o.Source
	case tenant.RoutingDomainObject:
		at = o.Source
	case tenant.SubnetObject:
		at = o.Source
	case tenant.RecordObject:
		at = o.Source
	case tenant.RouteObject:
		at = o.Source
	}
	if at.Line > 0 {
		s[o.Key().String()] = at
	}
}

// locate puts the place in the file before each fault of an object that is from
// there.
func (s sources) locate(err error) error {
	var p *api.Problem
	if !errors.As(err, &p) || len(p.Errors) == 0 {
		return err
	}
	located := *p
	located.Errors = append([]api.Fault(nil), p.Errors...)
	for i := range located.Errors {
		f := &located.Errors[i]
		if at, ok := s[f.Key]; ok {
			f.Key = at.String() + ": " + f.Key
		}
	}
	return &located
}

// policyPuts reads a policy file as the changes that put all that is in it.
func policyPuts(cmd *cobra.Command, file string) ([]tenant.Change, sources, error) {
	p, err := loadPolicy(cmd, file)
	if err != nil {
		return nil, nil, err
	}
	var changes []tenant.Change
	from := sources{}
	for o := range p.Objects() {
		changes = append(changes, tenant.Put(o))
		from.add(o)
	}
	return changes, from, nil
}
