package traefik

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
)

// door is one place where the API is served: an entrypoint, and what a
// request must look like.
type door struct {
	port   string // where the entrypoint listens
	inside string // host:port from within the container
	scheme string
	host   string // Host header; empty: any
	base   string // path before /api
}

// way leads to a port of the container from here.
type way struct {
	how     string
	address string
}

func noDoor(settings Settings) string {
	if !settings.API {
		return "its API is off: start it with --api.insecure=true, without publishing that port to the world, or name another way to it with --traefik URL"
	}
	return "its API is on, but not on an entrypoint of its own, and no label of the container routes to api@internal: " +
		"add --api.insecure=true, or name it with --traefik https://USER:PASSWORD@HOST"
}

var (
	hostRule   = regexp.MustCompile("(?i)\\bHost\\(\\s*[`\"]([^`\"]+)[`\"]")
	prefixRule = regexp.MustCompile("(?i)\\bPathPrefix\\(\\s*[`\"]([^`\"]+)[`\"]")
)

// doorsOf derives where the API is served: api.insecure puts it on the
// entrypoint traefik; a router to api@internal, written in the container's own
// labels, puts it behind that router's rule.
func doorsOf(settings Settings, labels map[string]string) []door {
	var doors []door
	if settings.Insecure {
		if port, inside, ok := settings.port("traefik"); ok {
			doors = append(doors, door{port: port, inside: inside, scheme: "http"})
		}
	}
	if !settings.API {
		return doors
	}
	for _, router := range namesIn(labels, HTTP, "routers") {
		option := func(name string) string {
			value, _ := label(labels, "traefik.http.routers."+router+"."+name)
			return value
		}
		if option("service") != "api@internal" {
			continue
		}
		schemes := []string{"http", "https"}
		if _, ok := label(labels, "traefik.http.routers."+router+".tls"); ok || option("tls.certresolver") != "" {
			slices.Reverse(schemes)
		}
		for _, entryPoint := range settings.entryPoints(option("entrypoints")) {
			port, inside, ok := settings.port(entryPoint)
			if !ok {
				continue
			}
			for _, scheme := range schemes {
				for _, base := range basesOf(option("rule"), settings.BasePath) {
					d := door{port: port, inside: inside, scheme: scheme, base: base}
					if match := hostRule.FindStringSubmatch(option("rule")); match != nil {
						d.host = match[1]
					}
					doors = append(doors, d)
				}
			}
		}
	}
	return doors
}

// entryPoints are those that a router names, or all.
func (s Settings) entryPoints(written string) []string {
	var names []string
	for name := range strings.SplitSeq(written, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	if names == nil {
		for name := range s.EntryPoints {
			if name != "traefik" {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	return names
}

// basesOf are the paths that may stand before /api: api.basePath, or a prefix
// that the rule asks for and a middleware strips.
func basesOf(rule, basePath string) []string {
	if basePath != "" {
		return []string{basePath}
	}
	var bases []string
	for _, match := range prefixRule.FindAllStringSubmatch(rule, -1) {
		prefix := strings.TrimRight(match[1], "/")
		if prefix == "/api" || prefix == "" {
			return []string{""}
		}
		if prefix != "/dashboard" {
			bases = append(bases, prefix)
		}
	}
	if bases == nil {
		return []string{""}
	}
	return bases
}

// waysByPublishedPort are the host's ports that lead to a container's port,
// as seen from here.
func waysByPublishedPort(c container.InspectResponse, port, daemonHost string) []way {
	var ways []way
	add := func(how, host, port string) {
		w := way{how: how, address: net.JoinHostPort(host, port)}
		if !slices.Contains(ways, w) {
			ways = append(ways, w)
		}
	}
	local := daemonHost == ""
	host := daemonHost
	if local {
		host = "127.0.0.1"
	}
	if c.HostConfig != nil && c.HostConfig.NetworkMode.IsHost() {
		add("host network", host, port)
		return ways
	}
	if c.NetworkSettings == nil {
		return nil
	}
	for _, binding := range c.NetworkSettings.Ports[nat.Port(port+"/tcp")] {
		ip, err := netip.ParseAddr(binding.HostIP)
		switch {
		case err != nil || ip == netip.IPv4Unspecified():
			add("published port", host, binding.HostPort)
		case ip == netip.IPv6Unspecified():
			if local {
				add("published port", "::1", binding.HostPort)
			} else {
				add("published port", host, binding.HostPort)
			}
		case ip.IsLoopback() && !local: // that host's own
		default:
			add("published port", ip.String(), binding.HostPort)
		}
	}
	return ways
}

// waysByAddress are the container's own addresses, IPv4 before IPv6, in the
// order of its networks' names.
func waysByAddress(c container.InspectResponse, port string) []way {
	if c.NetworkSettings == nil {
		return nil
	}
	var four, six []way
	names := make([]string, 0, len(c.NetworkSettings.Networks))
	for name := range c.NetworkSettings.Networks {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		endpoint := c.NetworkSettings.Networks[name]
		if endpoint == nil {
			continue
		}
		if endpoint.IPAddress != "" {
			four = append(four, way{"address", net.JoinHostPort(endpoint.IPAddress, port)})
		}
		if endpoint.GlobalIPv6Address != "" {
			six = append(six, way{"address", net.JoinHostPort(endpoint.GlobalIPv6Address, port)})
		}
	}
	return append(four, six...)
}
