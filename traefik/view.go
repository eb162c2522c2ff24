package traefik

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Protocol tells which of Traefik's three routing tables something is in.
type Protocol string

// The routing tables of Traefik. The same name may be in use in each of them.
const (
	HTTP Protocol = "http"
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
)

// Status is what Traefik's own health check thinks of a server.
type Status string

// The words of the API. Unknown is the zero value: Traefik says nothing about
// a server of a service that no router uses, about UDP servers, and, before
// 3.6, about TCP servers (facts.md A4).
const (
	Unknown Status = ""
	Up      Status = "UP"
	Down    Status = "DOWN"
)

// Server is one backend of a service.
type Server struct {
	// Target is the server as Traefik gave it: a URL for HTTP, host:port
	// for TCP and UDP.
	Target string
	// Addr is where Target leads, with the scheme's default port filled in.
	// It is the zero value when Target names a host instead of an address.
	Addr   netip.AddrPort
	Status Status
}

// Out reports whether the server gets no new request although it is listed.
func (s Server) Out() bool {
	return s.Status == Down
}

// Service is one load balancer, or a weighted, mirroring or failover service,
// which has no servers of its own: those are in the services that it names.
type Service struct {
	Name     string // with its provider: web@docker
	Protocol Protocol
	Type     string // loadbalancer, weighted, mirroring, failover, highestrandomweight; empty for Traefik's own
	Status   string // enabled, warning, disabled
	Errors   []string
	Servers  []Server // in Traefik's order
}

// Key is the service's name in Routes: web@docker for HTTP, db@docker/tcp and
// dns@docker/udp for the others, because the tables share no name space.
func (s Service) Key() string {
	return key(s.Name, s.Protocol)
}

func key(name string, protocol Protocol) string {
	if protocol == HTTP {
		return name
	}
	return name + "/" + string(protocol)
}

// Route is a router of Traefik: what leads requests to a service.
type Route struct {
	Name        string // with its provider
	Protocol    Protocol
	Rule        string // empty for UDP
	Service     string // as written: without provider it is the router's own
	EntryPoints []string
	Status      string // enabled, warning, disabled
	Errors      []string
}

// View is what one Traefik instance routes at one instant. Traefik switches
// its API and its routing together (facts.md A1), so a server that is not in
// the view is not picked by any new request.
type View struct {
	Services    []Service // sorted by protocol and name
	Routers     []Route   // sorted by protocol and name
	Middlewares []string  // names, sorted
}

// Listing is one place where a server was found.
type Listing struct {
	Service string // as Service.Key writes it
	Server  string // as Server.Target
	Status  Status
}

// Routes maps each service, under its Key, to the addresses that get its
// requests: every listed server that is not DOWN. Services without such a
// server are present and empty. Servers given by host name are left out,
// because nothing says which container they lead to.
func (v View) Routes() map[string][]netip.AddrPort {
	routes := make(map[string][]netip.AddrPort, len(v.Services))
	for _, service := range v.Services {
		var servers []netip.AddrPort
		listed := map[netip.AddrPort]bool{}
		for _, server := range service.Servers {
			if server.Addr.IsValid() && !server.Out() && !listed[server.Addr] {
				listed[server.Addr] = true
				servers = append(servers, server.Addr)
			}
		}
		routes[service.Key()] = servers
	}
	return routes
}

// Where lists every place, DOWN or not, in which a server has an address that
// has accepts.
func (v View) Where(has func(netip.AddrPort) bool) []Listing {
	var listings []Listing
	for _, service := range v.Services {
		for _, server := range service.Servers {
			if server.Addr.IsValid() && has(server.Addr) {
				listings = append(listings, Listing{Service: service.Key(), Server: server.Target, Status: server.Status})
			}
		}
	}
	return listings
}

// fromProvider reports whether anything in the view comes from one of the
// providers.
func (v View) fromProvider(providers ...string) bool {
	from := func(name string) bool {
		_, provider, _ := strings.Cut(name, "@")
		return slices.Contains(providers, provider)
	}
	return slices.ContainsFunc(v.Services, func(s Service) bool { return from(s.Name) }) ||
		slices.ContainsFunc(v.Routers, func(r Route) bool { return from(r.Name) })
}

// The API's shapes: facts.md A4, and RunTimeRepresentation in Traefik's
// pkg/api/handler.go.
type (
	rawServer struct {
		URL     string `json:"url"`
		Address string `json:"address"`
	}
	rawService struct {
		Name         string `json:"name"` // only in lists
		LoadBalancer *struct {
			Servers []rawServer `json:"servers"`
		} `json:"loadBalancer"`
		Weighted            json.RawMessage   `json:"weighted"`
		HighestRandomWeight json.RawMessage   `json:"highestRandomWeight"`
		Mirroring           json.RawMessage   `json:"mirroring"`
		Failover            json.RawMessage   `json:"failover"`
		Status              string            `json:"status"`
		Errors              []string          `json:"error"`
		ServerStatus        map[string]string `json:"serverStatus"`
	}
	rawRouter struct {
		Name        string   `json:"name"` // only in lists
		Rule        string   `json:"rule"`
		Service     string   `json:"service"`
		EntryPoints []string `json:"entryPoints"`
		Status      string   `json:"status"`
		Errors      []string `json:"error"`
	}
	rawData struct {
		Routers        map[string]rawRouter       `json:"routers"`
		TCPRouters     map[string]rawRouter       `json:"tcpRouters"`
		UDPRouters     map[string]rawRouter       `json:"udpRouters"`
		Services       map[string]rawService      `json:"services"`
		TCPServices    map[string]rawService      `json:"tcpServices"`
		UDPServices    map[string]rawService      `json:"udpServices"`
		Middlewares    map[string]json.RawMessage `json:"middlewares"`
		TCPMiddlewares map[string]json.RawMessage `json:"tcpMiddlewares"`
	}
)

// ParseView reads the body of /api/rawdata. It is strict about what would be
// mistaken for "nothing is routed": an answer without any service is an error,
// because a Traefik with an API always lists at least its own api@internal.
func ParseView(body []byte) (View, error) {
	var raw rawData
	if err := decode(body, &raw); err != nil {
		return View{}, err
	}
	if len(raw.Services) == 0 {
		return View{}, fmt.Errorf("not an answer of Traefik's API: it lists no services, not even Traefik's own: %s", excerpt(body))
	}
	var view View
	for protocol, services := range map[Protocol]map[string]rawService{HTTP: raw.Services, TCP: raw.TCPServices, UDP: raw.UDPServices} {
		for name, service := range services {
			view.Services = append(view.Services, service.parse(name, protocol))
		}
	}
	for protocol, routers := range map[Protocol]map[string]rawRouter{HTTP: raw.Routers, TCP: raw.TCPRouters, UDP: raw.UDPRouters} {
		for name, router := range routers {
			view.Routers = append(view.Routers, router.parse(name, protocol))
		}
	}
	for name := range raw.Middlewares {
		view.Middlewares = append(view.Middlewares, name)
	}
	for name := range raw.TCPMiddlewares {
		view.Middlewares = append(view.Middlewares, key(name, TCP))
	}
	slices.SortFunc(view.Services, func(a, b Service) int { return compare(a.Protocol, a.Name, b.Protocol, b.Name) })
	slices.SortFunc(view.Routers, func(a, b Route) int { return compare(a.Protocol, a.Name, b.Protocol, b.Name) })
	slices.Sort(view.Middlewares)
	return view, nil
}

// compare orders by protocol, http first, then by name.
func compare(protocolA Protocol, nameA string, protocolB Protocol, nameB string) int {
	if protocolA != protocolB {
		return strings.Compare(string(protocolA), string(protocolB))
	}
	return strings.Compare(nameA, nameB)
}

func (r rawService) parse(name string, protocol Protocol) Service {
	service := Service{Name: name, Protocol: protocol, Status: r.Status, Errors: r.Errors, Type: r.kind()}
	if r.LoadBalancer == nil {
		return service
	}
	for _, server := range r.LoadBalancer.Servers {
		target, addr := server.Address, addressOf(server.Address)
		if protocol == HTTP {
			target, addr = server.URL, addressOfURL(server.URL)
		}
		service.Servers = append(service.Servers, Server{Target: target, Addr: addr, Status: Status(strings.ToUpper(r.ServerStatus[target]))})
	}
	return service
}

func (r rawService) kind() string {
	switch {
	case r.LoadBalancer != nil:
		return "loadbalancer"
	case r.Weighted != nil:
		return "weighted"
	case r.HighestRandomWeight != nil:
		return "highestrandomweight"
	case r.Mirroring != nil:
		return "mirroring"
	case r.Failover != nil:
		return "failover"
	}
	return ""
}

func (r rawRouter) parse(name string, protocol Protocol) Route {
	return Route{Name: name, Protocol: protocol, Rule: r.Rule, Service: r.Service, EntryPoints: r.EntryPoints, Status: r.Status, Errors: r.Errors}
}

// addressOfURL is the zero value when the URL's host is not an address.
func addressOfURL(target string) netip.AddrPort {
	u, err := url.Parse(target)
	if err != nil {
		return netip.AddrPort{}
	}
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return addressOf(net.JoinHostPort(u.Hostname(), port))
}

// addressOf is the zero value when target is not an address with a port.
func addressOf(target string) netip.AddrPort {
	addr, err := netip.ParseAddrPort(target)
	if err != nil || addr.Port() == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// decode reads one JSON value and words the error for somebody who does not
// know what was asked.
func decode(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return errors.New("not an answer of Traefik's API: it is empty")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("not an answer of Traefik's API: %v: %s", err, excerpt(body))
	}
	return nil
}

// excerpt quotes the beginning of an answer for an error.
func excerpt(body []byte) string {
	const most = 80
	text := strings.Join(strings.Fields(string(body[:min(len(body), 4*most)])), " ")
	if len(text) > most {
		return fmt.Sprintf("%q...", text[:most])
	}
	return fmt.Sprintf("%q", text)
}
