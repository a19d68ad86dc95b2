package admin

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// maxReply bounds what the client reads of a reply, in octets.
const maxReply = 256 << 20

// FetchStatus asks the daemon at an admin socket for its status.
func FetchStatus(ctx context.Context, socket string) (*Status, error) {
	body, err := Get(ctx, socket, "/v1/status")
	if err != nil {
		return nil, err
	}
	s := &Status{}
	if err := json.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("admin socket %s: the status cannot be read, is the daemon of the same release? %w", socket, err)
	}
	return s, nil
}

// FetchWanted asks the daemon at an admin socket for the flows that it wants a host
// to have, each in the octets of [Source.Wanted].
func FetchWanted(ctx context.Context, socket, host string) ([]string, error) {
	body, err := Get(ctx, socket, "/v1/hosts/"+url.PathEscape(host)+"/wanted")
	if err != nil {
		return nil, err
	}
	var all []string
	for len(body) > 0 {
		n := 0
		if len(body) >= 4 {
			n = int(binary.BigEndian.Uint32(body))
		}
		if n == 0 || len(body) < 4+n {
			return nil, fmt.Errorf("admin socket %s: the flows of host %s end in the middle of one", socket, host)
		}
		all, body = append(all, string(body[4:4+n])), body[4+n:]
	}
	return all, nil
}

// explain says what to do where nobody answers.
func explain(ctx context.Context, socket string, err error) error {
	var noise *url.Error // it tells of an URL that nobody has given
	if errors.As(err, &noise) {
		err = noise.Err
	}
	hint := "is the controller running, and is this the admin-socket of its settings?"
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "the socket is the controller's own: use sudo, or be its user"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "the controller that made it has ended, perhaps by a crash: look at its log and start it; the switches keep forwarding"
	case ctx.Err() != nil:
		hint = "a process listens there and does not answer in time: try a longer --timeout, else look at the controller's log"
	}
	return fmt.Errorf("admin socket %s: %w: %s", socket, err, hint)
}

// Get returns the body of one page of a daemon's admin socket. Any status but
// 200 is an error.
func Get(ctx context.Context, socket, page string) ([]byte, error) {
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin"+page, nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return nil, explain(ctx, socket, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", socket, err)
	}
	if resp.StatusCode != http.StatusOK {
		return body, fmt.Errorf("admin socket %s: %s: %s", socket, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
