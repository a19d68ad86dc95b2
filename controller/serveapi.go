package controller

import (
	"context"
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
)

// serveAPI opens the REST interface and gives its serving to run.
func (c *Controller) serveAPI(run func(func(context.Context) error)) error {
	s := c.settings
	o := api.Options{Socket: s.APISocket, Group: s.API.Group, Address: s.API.Listen, Version: c.opts.Version, Log: c.log.With("part", "api")}
	if s.API.Listen != "" {
		var err error
		if o.TLS, err = api.ServerTLS(s.API.TLS.CA, s.API.TLS.Certificate, s.API.TLS.PrivateKey); err != nil {
			return fmt.Errorf("settings: api.tls: %w", err)
		}
	}
	var b api.Backend = c.store
	if c.file != nil {
		b = c.file
	}
	server, err := api.Listen(o, b, c)
	if err != nil {
		return err
	}
	run(server.Run)
	return nil
}
