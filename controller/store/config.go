package store

import (
	"cmp"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"time"
)

// DefaultPrefix is where the store's keys are in etcd.
const DefaultPrefix = "/nvgre-ofctl/v1/"

// Config says where etcd is and how the store uses it. Either Embedded or
// Endpoints must be given.
type Config struct {
	// Embedded, if not nil, makes this process a member of etcd.
	Embedded *Embedded
	// Endpoints are the client URLs of an etcd cluster outside this process.
	Endpoints []string
	// TLS, Username and Password are for Endpoints.
	TLS                *tls.Config
	Username, Password string

	// Prefix is what all keys begin with; it ends in a slash. Default: [DefaultPrefix].
	Prefix string
	// Retention is how far back in time revisions are kept. Default: 24 hours.
	Retention time.Duration
	// MaxHistory is how many changes of objects are kept at most, however young
	// they are: it bounds the size of etcd. Default: 2,000,000.
	MaxHistory uint64
	// MaxTxnOps is the number of objects up to which changes are one transaction
	// of etcd; more are staged. etcd's own limit is 128 unless it was started
	// with --max-txn-ops. Default: 100 for Endpoints, 4,000 embedded.
	MaxTxnOps int
	// MaxTxnBytes is the same in octets; etcd's own limit is 1.5 MiB unless it
	// was started with --max-request-bytes. Default: 1 MiB, 4 MiB embedded.
	MaxTxnBytes int
	// DialTimeout bounds how long a connection may take. Default: 5 s.
	DialTimeout time.Duration
	// RequestTimeout bounds one request to etcd. Default: 5 s.
	RequestTimeout time.Duration
	// BusyWait is how long an apply waits for a large one of somebody else to
	// end, and for the policy to be loaded. Default: 5 s.
	BusyWait time.Duration
	// StageTTL is the time after which a controller that died in the middle of a
	// large apply counts as dead, in whole seconds. Default: 10 s.
	StageTTL time.Duration
	Log      *slog.Logger

	// fault, where a test sets it, is called at named points and may end the process.
	fault func(point string)
	// now is the clock.
	now func() time.Time
}

// Embedded describes the member of etcd in this process. With nothing but Dir it
// is complete by itself and listens nowhere.
type Embedded struct {
	// Dir is the data directory. It is made where it does not exist.
	Dir string
	// Name is the member's name in InitialCluster. Default: "controller".
	Name string
	// ListenPeer and AdvertisePeer are the URLs for the other members,
	// comma-separated: where this one listens, and what the others are told.
	ListenPeer, AdvertisePeer string
	// ListenClient are the URLs for clients, comma-separated, such as
	// unix:///run/nvgre-ofctl/etcd.sock or http://127.0.0.1:2379. Empty: none.
	ListenClient string
	// InitialCluster are all members as NAME=URL, comma-separated. Empty: this one alone.
	InitialCluster string
	// Join says that the cluster is there already and this member was added to it.
	Join bool
	// PeerCert, PeerKey and PeerCA are files for TLS between members, each way.
	PeerCert, PeerKey, PeerCA string
	// Heartbeat and Election are etcd's own; the defaults are 100 ms and 1 s.
	Heartbeat, Election time.Duration
	// Quota is the size of the database, in octets, at which etcd takes no more
	// writes. Default: 8 GiB.
	Quota int64
	// MinFree is the free space of the file system, in octets, below which no
	// change is accepted, so that etcd itself never meets a full disk. Default: 128 MiB.
	MinFree uint64
	// UnsafeNoSync does not wait for the disk. A crash of the machine may then
	// lose the policy; it is for tests.
	UnsafeNoSync bool
}

const (
	embeddedTxnOps   = 4000
	embeddedTxnBytes = 4 << 20
	externalTxnOps   = 100
	externalTxnBytes = 1 << 20
	// spareOps are for what goes with the objects in a transaction: the head, the
	// staging, repairs.
	spareOps = 20
)

func (c Config) withDefaults() (Config, error) {
	if (c.Embedded == nil) == (len(c.Endpoints) == 0) {
		return c, errors.New("store: want either an embedded etcd or the endpoints of one")
	}
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	if !strings.HasSuffix(c.Prefix, "/") {
		c.Prefix += "/"
	}
	ops, size := externalTxnOps, externalTxnBytes
	if c.Embedded != nil {
		ops, size = embeddedTxnOps, embeddedTxnBytes
		e := *c.Embedded
		if e.Dir == "" {
			return c, errors.New("store: the embedded etcd has no data directory: want one")
		}
		e.Name = cmp.Or(e.Name, "controller")
		e.Heartbeat = cmp.Or(e.Heartbeat, 100*time.Millisecond)
		e.Election = cmp.Or(e.Election, 10*e.Heartbeat)
		e.Quota = cmp.Or(e.Quota, 8<<30)
		e.MinFree = cmp.Or(e.MinFree, 128<<20)
		c.Embedded = &e
	}
	c.MaxTxnOps = cmp.Or(c.MaxTxnOps, ops)
	c.MaxTxnBytes = cmp.Or(c.MaxTxnBytes, size)
	c.Retention = cmp.Or(c.Retention, 24*time.Hour)
	c.MaxHistory = cmp.Or(c.MaxHistory, 2_000_000)
	c.DialTimeout = cmp.Or(c.DialTimeout, 5*time.Second)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 5*time.Second)
	c.BusyWait = cmp.Or(c.BusyWait, 5*time.Second)
	c.StageTTL = max(cmp.Or(c.StageTTL, 10*time.Second), time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.fault == nil {
		c.fault = func(string) {}
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}
