package store

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sys/unix"
)

// member is the etcd in this process.
type member struct {
	etcd *embed.Etcd
	lock *os.File
	dir  string
	min  uint64
}

// startMember starts etcd. died is told where etcd would later end the process.
func startMember(c Config, died func(string)) (*member, *clientv3.Client, error) {
	e := c.Embedded
	m := &member{dir: e.Dir, min: e.MinFree}
	if err := m.prepare(); err != nil {
		return nil, nil, err
	}
	why := make(chan string, 1)
	cfg, err := etcdConfig(e)
	if err != nil {
		return nil, nil, errors.Join(err, m.lock.Close())
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcdLog(c.Log, func(text string) {
		select {
		case why <- text:
		default:
		}
		died(text)
	}))
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan result, 1)
	go func() {
		r := result{err: errors.New("etcd gave up (its log says why)")}
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("etcd panicked: %v", p)
			}
			started <- r // also where etcd ends the goroutine
		}()
		etcd, err := embed.StartEtcd(cfg)
		r = result{etcd, err}
	}()
	select {
	case r := <-started:
		if r.err != nil {
			return nil, nil, errors.Join(m.explain(r.err, why), m.lock.Close())
		}
		m.etcd = r.etcd
	case <-time.After(startTimeout):
		// bbolt waits for ever for a database that another process has locked.
		return nil, nil, errors.Join(m.explain(fmt.Errorf("etcd did not start in %v", startTimeout), why), m.lock.Close())
	}
	return m, v3client.New(m.etcd.Server), nil
}

// startTimeout is for reading a large log of etcd from a slow disk.
const startTimeout = 2 * time.Minute

func (m *member) explain(err error, why <-chan string) error {
	select {
	case text := <-why:
		err = fmt.Errorf("%w: %s", err, text)
	default:
	}
	return fmt.Errorf("store: etcd in %s: %w", m.dir, err)
}

// prepare makes the directory, and claims it: etcd itself would wait for ever
// for a directory that is in use, and end the process on some that are not fit.
func (m *member) prepare() error {
	bad := func(err error, want string) error {
		return fmt.Errorf("store: data directory %s: %w: %s", m.dir, err, want)
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return bad(err, "want a directory that this user may make or write")
	}
	name := filepath.Join(m.dir, "controller.lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return bad(err, "want a directory on a file system that is writable, owned by this user")
	}
	db := filepath.Join(m.dir, "member", "snap", "db")
	err = errors.Join(claim(f), tryClaim(db))
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = bad(errors.New("is in use by another process"), "end that controller or etcd, or set another store.dir")
	case err != nil:
		err = bad(err, "want files that this user may write")
	default:
		err = m.space()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	m.lock = f
	return nil
}

func claim(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// tryClaim reports whether the file could be claimed; one that is not there can.
func tryClaim(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(claim(f), f.Close())
}

// space returns an error where the file system is nearly full. etcd writes its
// log in pieces of 64 MB and cannot go on without.
func (m *member) space() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(m.dir, &fs); err != nil {
		return fmt.Errorf("store: data directory %s: %w", m.dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < m.min {
		return fmt.Errorf("%w: the file system of the data directory %s has %d MiB left: free some, want %d MiB", ErrUnavailable, m.dir, free>>20, m.min>>20)
	}
	return nil
}

// close stops etcd, and waits for it, but not for one that has died.
func (m *member) close() error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		m.etcd.Close()
	}()
	select {
	case <-closed:
		return m.lock.Close()
	case <-time.After(20 * time.Second):
		return fmt.Errorf("store: etcd in %s did not stop", m.dir)
	}
}

func etcdConfig(e *Embedded) (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.Name = e.Dir, e.Name
	cfg.TickMs, cfg.ElectionMs = uint(e.Heartbeat.Milliseconds()), uint(e.Election.Milliseconds())
	cfg.QuotaBackendBytes = e.Quota
	cfg.MaxTxnOps = embeddedTxnOps + spareOps
	cfg.MaxRequestBytes = 2 * embeddedTxnBytes
	cfg.UnsafeNoFsync = e.UnsafeNoSync
	cfg.AutoCompactionRetention = "0" // the store compacts
	cfg.InitialClusterToken = "nvgre-ofctl"
	if e.Join {
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	if e.PeerCert != "" {
		cfg.PeerTLSInfo = transport.TLSInfo{CertFile: e.PeerCert, KeyFile: e.PeerKey, TrustedCAFile: e.PeerCA, ClientCertAuth: true}
	}
	var err error
	urls := func(list, what string) []url.URL {
		var out []url.URL
		for s := range strings.SplitSeq(list, ",") {
			if s = strings.TrimSpace(s); s == "" {
				continue
			}
			u, perr := url.Parse(s)
			if perr == nil && u.Host == "" && u.Path == "" {
				perr = errors.New("has no host")
			}
			if perr != nil {
				err = errors.Join(err, fmt.Errorf("store: %s %q: %w: want a URL such as http://10.0.0.1:2380 or unix:///run/etcd.sock", what, s, perr))
				continue
			}
			out = append(out, *u)
		}
		return out
	}
	cfg.ListenPeerUrls = urls(e.ListenPeer, "peer listener")
	cfg.ListenClientUrls = urls(e.ListenClient, "client listener")
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	if adv := urls(e.AdvertisePeer, "advertised peer URL"); len(adv) > 0 {
		cfg.AdvertisePeerUrls = adv
	} else if len(cfg.ListenPeerUrls) > 0 {
		cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	}
	cfg.InitialCluster = e.InitialCluster
	if cfg.InitialCluster == "" {
		cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	}
	// The entries of etcd's log since its last snapshot are in memory, those that
	// were read at its start too; an apply is one entry of up to a MiB.
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = aloneEntries, aloneEntries
	if strings.Contains(cfg.InitialCluster, ",") || e.Join {
		cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = clusterEntries, clusterEntries
	}
	return cfg, err
}

const (
	// aloneEntries is how many entries of etcd's log are kept where no other
	// member reads them; clusterEntries where one that lags further behind must be
	// sent the whole database.
	aloneEntries, clusterEntries = 100, 2000
)
