package virtual

// Client is a connection of a client, as system_views.clients shows it.
type Client struct {
	Address  string
	Port     int
	Stage    string // ready, or what it waits for
	Protocol int    // version
	Options  map[string]string
	User     string // "" where nobody is asked
	Keyspace string // after USE
	Requests int64
	TLS      bool
}

// Hoster is a Source that knows the clients and the settings of its own node.
type Hoster interface {
	Clients() []Client
	Settings() map[string]string
}

func clientRows(e *emitter) error {
	host, ok := e.src.(Hoster)
	if !ok {
		return nil
	}
	for _, c := range host.Clients() {
		f := fields{
			"address": inet(c.Address), "port": integer(int32(c.Port)), "connection_stage": text(c.Stage), "protocol_version": integer(int32(c.Protocol)),
			"client_options": textMap(c.Options), "driver_name": text(c.Options["DRIVER_NAME"]), "driver_version": text(c.Options["DRIVER_VERSION"]),
			"hostname": text(c.Address), "request_count": bigint(c.Requests), "ssl_enabled": boolean(c.TLS), "username": text("anonymous"),
		}
		if c.User != "" {
			f["username"] = text(c.User)
		}
		if c.Keyspace != "" {
			f["keyspace_name"] = text(c.Keyspace)
		}
		if err := e.row(f); err != nil {
			return err
		}
	}
	return nil
}

func settingRows(e *emitter) error {
	host, ok := e.src.(Hoster)
	if !ok {
		return nil
	}
	for name, value := range host.Settings() {
		if err := e.row(fields{"name": text(name), "value": text(value)}); err != nil {
			return err
		}
	}
	return nil
}
