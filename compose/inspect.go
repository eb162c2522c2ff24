package compose

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// Labels that Compose puts on containers (facts.md C, labels).
const (
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
	labelOneOff  = "com.docker.compose.oneoff"
	labelNumber  = "com.docker.compose.container-number"
	labelHash    = "com.docker.compose.config-hash"
	labelVersion = "com.docker.compose.version"
	labelHook    = "com.docker.compose.hook"
)

// replica turns what the Engine shows of a container into ours. Every part of
// the answer may be missing: Engines from 20.10 to 29 fill different ones.
func replica(c container.InspectResponse) Replica {
	var r Replica
	if c.ContainerJSONBase != nil {
		r.ID = c.ID
		r.Name = strings.TrimPrefix(c.Name, "/")
		r.ImageID = c.Image
		r.RestartCount = c.RestartCount
		r.Created = timestamp(c.Created)
		fillState(&r, c.State)
		if host := c.HostConfig; host != nil {
			r.ReadOnly = host.ReadonlyRootfs
			r.PIDMode = string(host.PidMode)
			r.Init = host.Init != nil && *host.Init
			for _, target := range slices.Sorted(maps.Keys(host.Tmpfs)) {
				r.Mounts = append(r.Mounts, Mount{Type: "tmpfs", Destination: target})
			}
		}
	}
	if config := c.Config; config != nil {
		fillConfig(&r, config)
	}
	for _, m := range c.Mounts {
		source := m.Source
		if m.Type == "volume" && m.Name != "" {
			source = m.Name
		}
		mount := Mount{Type: string(m.Type), Source: source, Destination: m.Destination, ReadOnly: !m.RW}
		if !slices.ContainsFunc(r.Mounts, func(o Mount) bool { return o.Destination == mount.Destination }) {
			r.Mounts = append(r.Mounts, mount)
		}
	}
	slices.SortFunc(r.Mounts, func(a, b Mount) int { return strings.Compare(a.Destination, b.Destination) })
	if c.NetworkSettings != nil {
		fillNetworks(&r, c.NetworkSettings)
	}
	return r
}

func fillState(r *Replica, state *container.State) {
	if state == nil {
		return
	}
	r.State = State(state.Status)
	r.ExitCode = state.ExitCode
	r.OOMKilled = state.OOMKilled
	r.Error = state.Error
	r.PID = state.Pid
	r.Started = timestamp(state.StartedAt)
	r.Finished = timestamp(state.FinishedAt)
	health := state.Health
	if health == nil || health.Status == container.NoHealthcheck {
		return
	}
	r.Health = Health(health.Status)
	r.FailingStreak = health.FailingStreak
	for _, probe := range health.Log {
		if probe != nil {
			r.Probes = append(r.Probes, Probe{Start: probe.Start, End: probe.End, ExitCode: probe.ExitCode, Output: probe.Output})
		}
	}
}

func fillConfig(r *Replica, config *container.Config) {
	r.Image = config.Image
	r.Labels = config.Labels
	r.Project = config.Labels[labelProject]
	r.Service = config.Labels[labelService]
	r.Number, _ = strconv.Atoi(config.Labels[labelNumber])
	r.ConfigHash = config.Labels[labelHash]
	r.Version = config.Labels[labelVersion]
	r.StopSignal = config.StopSignal
	r.Entrypoint = config.Entrypoint
	r.Command = config.Cmd
	r.WorkingDir = config.WorkingDir
	r.Environ = config.Env
	if config.StopTimeout != nil {
		grace := time.Duration(*config.StopTimeout) * time.Second
		r.StopTimeout = &grace
	}
	if check := config.Healthcheck; check != nil && len(check.Test) > 0 && check.Test[0] != "NONE" {
		r.Healthcheck = healthcheck(check.Test, check.Interval, check.Timeout, check.StartPeriod, check.StartInterval, check.Retries)
	}
}

// fillNetworks reads addresses per network only: API 1.52 has no others
// (facts.md D6).
func fillNetworks(r *Replica, settings *container.NetworkSettings) {
	for _, name := range slices.Sorted(maps.Keys(settings.Networks)) {
		r.Networks = append(r.Networks, name)
		endpoint := settings.Networks[name]
		if endpoint == nil {
			continue
		}
		for _, text := range []string{endpoint.IPAddress, endpoint.GlobalIPv6Address} {
			if address, err := netip.ParseAddr(text); err == nil && !slices.Contains(r.Addresses, address) {
				r.Addresses = append(r.Addresses, address)
			}
		}
	}
	for _, bindings := range settings.Ports {
		for _, binding := range bindings {
			host := binding.HostIP
			if host == "" {
				host = "0.0.0.0"
			}
			address, err := netip.ParseAddr(host)
			port, errPort := strconv.ParseUint(binding.HostPort, 10, 16)
			if err != nil || errPort != nil || port == 0 {
				continue
			}
			if pair := netip.AddrPortFrom(address, uint16(port)); !slices.Contains(r.Published, pair) {
				r.Published = append(r.Published, pair)
			}
		}
	}
	slices.SortFunc(r.Published, netip.AddrPort.Compare)
}

// timestamp is zero for what the Engine writes as year 1 or not at all.
func timestamp(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}
