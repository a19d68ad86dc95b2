package store

import (
	"os"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store/etcdtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	etcdtest.Main()
	if os.Getenv(crashEnv) != "" {
		crashChild() // does not return
	}
	if os.Getenv(fullEnv) != "" {
		fullChild()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m,
		// Members of etcd talk by net/http, which this package does not use otherwise,
		// and a member that stops leaves its idle connections to time out.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		// An etcd that gives up in the middle of its start (TestDataDirectory), where
		// it would end the process, leaves its files open.
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage/backend.(*backend).run"),
		goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage/wal.(*filePipeline).run"),
	)
}
