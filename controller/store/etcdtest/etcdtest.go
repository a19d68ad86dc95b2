// Package etcdtest runs an etcd in a process of its own, for tests: with TLS,
// with users, and so that it can be killed and started again.
package etcdtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// childVariable has the configuration of the process that is etcd.
const childVariable = "ETCDTEST_CHILD"

type config struct {
	Dir, URL                    string
	Certificate, PrivateKey, CA string // CA: clients must show a certificate of it
}

// Main is called first in TestMain. In the process that is to be etcd it does
// not return.
func Main() {
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	if err := serve(text); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(text string) error {
	var c config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return err
	}
	cfg := embed.NewConfig()
	// A password costs what it must in service; under the race detector that is a second.
	cfg.BcryptCost = 4 // bcrypt.MinCost
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = c.Dir, "fatal", true
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{*u}, []url.URL{*u}
	cfg.ListenPeerUrls = nil
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	if c.Certificate != "" {
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: c.Certificate, KeyFile: c.PrivateKey, TrustedCAFile: c.CA, ClientCertAuth: c.CA != ""}
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	<-e.Server.ReadyNotify()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test
	e.Close()
	return nil
}

// Options say what kind of etcd it is.
type Options struct {
	TLS bool
	// ClientCertificates: with TLS, only clients with a certificate of the
	// authority may connect.
	ClientCertificates bool
	// Users turns on authentication: there is the user root, who may do
	// everything, one for Prefix and a stranger, who may do nothing.
	Users  bool
	Prefix string
}

// The names of the users; a user's password is [Password] of the name.
const Controller, Stranger, root = "controller", "stranger", "root"

// Password returns the password of a user.
func Password(user string) string { return "password of " + user }

// Server is an etcd in a process of its own. It ends with the test.
type Server struct {
	Authority *Authority // nil without TLS
	URL       string
	tb        testing.TB
	config    config
	process   *exec.Cmd
	stdin     io.Closer
}

// Start starts one and waits until it answers.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	s := &Server{tb: tb, URL: "http://" + address}
	s.config = config{Dir: filepath.Join(tb.TempDir(), "etcd")}
	if o.TLS {
		s.Authority = NewAuthority(tb)
		s.URL = "https://" + address
		s.config.Certificate, s.config.PrivateKey = s.Authority.Sign("etcd")
		if o.ClientCertificates {
			s.config.CA = s.Authority.File()
		}
	}
	s.config.URL = s.URL
	tb.Cleanup(s.Kill)
	s.Restart()
	if o.Users {
		s.addUsers(o.Prefix)
	}
	return s
}

// Restart starts it again after [Server.Kill].
func (s *Server) Restart() {
	s.tb.Helper()
	text, err := json.Marshal(s.config)
	if err != nil {
		s.tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		s.tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	s.process, s.stdin = cmd, in
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		s.Kill()
		s.tb.Fatalf("etcd did not start: %q %v", line, err)
	}
}

// Kill ends it as kill -9 does. It may be called twice.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait() // it says that it was killed
	_ = s.stdin.Close()
	s.process = nil
}

// addUsers makes users and turns on authentication.
func (s *Server) addUsers(prefix string) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cfg := clientv3.Config{Endpoints: []string{s.URL}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	if s.Authority != nil {
		certificate, key := s.Authority.Sign("operator")
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			s.tb.Fatal(err)
		}
		cfg.TLS = &tls.Config{RootCAs: s.Authority.Pool(), Certificates: []tls.Certificate{pair}}
	}
	c, err := clientv3.New(cfg)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer c.Close()
	step := func(_ any, err error) {
		s.tb.Helper()
		if err != nil {
			s.tb.Fatal(err)
		}
	}
	step(c.RoleAdd(ctx, Controller))
	step(c.RoleGrantPermission(ctx, Controller, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite)))
	step(c.RoleAdd(ctx, root))
	for _, user := range []string{root, Controller, Stranger} {
		step(c.UserAdd(ctx, user, Password(user)))
		if user != Stranger {
			step(c.UserGrantRole(ctx, user, user))
		}
	}
	step(c.AuthEnable(ctx))
}
