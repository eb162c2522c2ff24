package compose

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// services turns compose-go's services into ours, in dependency order.
func services(model *types.Project, stated map[string]updates, environment types.Mapping) []Service {
	awaited := map[string]bool{} // services whose completion another one waits for
	for _, s := range model.Services {
		for name, dependency := range s.DependsOn {
			if dependency.Condition == types.ServiceConditionCompletedSuccessfully {
				awaited[name] = true
			}
		}
	}
	byName := map[string]Service{}
	for name, config := range model.Services {
		s := declared(model, config, environment)
		s.Update = stated[name].update.fill(s.Update)
		s.Rollback = stated[name].rollback.fill(s.Rollback)
		s.OneShot = s.OneShot || awaited[name] && endsByItself(config)
		byName[name] = s
	}

	var ordered []Service
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) { // compose-go has refused cycles
		if seen[name] {
			return
		}
		seen[name] = true
		for _, dependency := range byName[name].DependsOn {
			visit(dependency)
		}
		ordered = append(ordered, byName[name])
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		visit(name)
	}
	return ordered
}

// endsByItself: a container that is always started again never completes, so
// nobody can be waiting for that.
func endsByItself(s types.ServiceConfig) bool {
	return s.Restart != types.RestartPolicyAlways && s.Restart != types.RestartPolicyUnlessStopped
}

func declared(model *types.Project, config types.ServiceConfig, environment types.Mapping) Service {
	s := Service{
		Project:       model.Name,
		Name:          config.Name,
		Image:         config.Image,
		Build:         config.Build != nil,
		Replicas:      config.GetScale(),
		StopSignal:    config.StopSignal,
		Labels:        config.Labels,
		ContainerName: config.ContainerName,
		NetworkMode:   config.NetworkMode,
		OneShot:       config.Provider != nil,
		ReadOnly:      config.ReadOnly,
		Entrypoint:    config.Entrypoint,
		Command:       config.Command,
		Environ:       assignments(config.Environment),
		Init:          value(config.Init),
	}
	if s.Image == "" && s.Build {
		separator := "-"
		if isTrue(environment["COMPOSE_COMPATIBILITY"]) {
			separator = "_"
		}
		s.Image = model.Name + separator + config.Name
	}
	if config.StopGracePeriod != nil {
		grace := time.Duration(*config.StopGracePeriod)
		s.StopGrace = &grace
	}
	if deploy := config.Deploy; deploy != nil {
		s.OneShot = s.OneShot || strings.HasSuffix(deploy.Mode, "-job")
		s.Update, s.Rollback = update(deploy.UpdateConfig), update(deploy.RollbackConfig)
	}
	for _, hook := range config.PreStop {
		s.PreStop = append(s.PreStop, Hook{
			Command:     hook.Command,
			User:        hook.User,
			Privileged:  hook.Privileged,
			WorkingDir:  hook.WorkingDir,
			Environment: assignments(hook.Environment),
		})
	}
	if check := config.HealthCheck; check != nil {
		s.NoHealthcheck = check.Disable || len(check.Test) > 0 && check.Test[0] == "NONE"
		if !s.NoHealthcheck {
			s.Healthcheck = healthcheck(check.Test,
				duration(check.Interval), duration(check.Timeout), duration(check.StartPeriod), duration(check.StartInterval),
				int(value(check.Retries)))
		}
	}
	for _, port := range config.Ports {
		if port.Published != "" && port.Published != "0" {
			s.Ports = append(s.Ports, Port{
				HostIP:    port.HostIP,
				Published: port.Published,
				Target:    port.Target,
				Protocol:  cmp.Or(port.Protocol, "tcp"),
			})
		}
	}
	for key := range config.Networks {
		s.Networks = append(s.Networks, cmp.Or(model.Networks[key].Name, key))
	}
	slices.Sort(s.Networks)
	for name := range config.DependsOn { // compose-go adds what links, volumes_from and the service: modes imply
		if _, active := model.Services[name]; active {
			s.DependsOn = append(s.DependsOn, name)
		}
	}
	slices.Sort(s.DependsOn)
	for _, volume := range config.Volumes {
		source := volume.Source
		if volume.Type == types.VolumeTypeVolume && source != "" {
			source = cmp.Or(model.Volumes[source].Name, source)
		}
		s.Volumes = append(s.Volumes, Mount{
			Type:        volume.Type,
			Source:      source,
			Destination: volume.Target,
			ReadOnly:    volume.ReadOnly,
		})
	}
	for _, target := range config.Tmpfs {
		path, _, _ := strings.Cut(target, ":")
		s.Volumes = append(s.Volumes, Mount{Type: types.VolumeTypeTmpfs, Destination: path})
	}
	return s
}

// healthcheck fills in the Engine's defaults (facts.md D1).
func healthcheck(test []string, interval, timeout, startPeriod, startInterval time.Duration, retries int) *Healthcheck {
	return &Healthcheck{
		Test:          test,
		Interval:      cmp.Or(interval, 30*time.Second),
		Timeout:       cmp.Or(timeout, 30*time.Second),
		StartPeriod:   startPeriod,
		StartInterval: cmp.Or(startInterval, 5*time.Second),
		Retries:       cmp.Or(retries, 3),
	}
}

// update turns a block into ours. compose-go cannot tell an absent delay,
// monitor or ratio from zero: statement.fill adds the zeros that are written.
func update(block *types.UpdateConfig) Update {
	if block == nil {
		return Update{}
	}
	u := Update{Order: Order(block.Order), FailureAction: block.FailureAction}
	if block.Parallelism != nil {
		n := int(min(*block.Parallelism, 1<<30))
		u.Parallelism = &n
	}
	if block.Delay != 0 {
		delay := time.Duration(block.Delay)
		u.Delay = &delay
	}
	if block.Monitor != 0 {
		monitor := time.Duration(block.Monitor)
		u.Monitor = &monitor
	}
	if block.MaxFailureRatio != 0 {
		ratio := float64(block.MaxFailureRatio)
		u.MaxFailureRatio = &ratio
	}
	return u
}

// statement is the set of keys that a block of the file has.
type statement map[string]any

type updates struct{ update, rollback statement }

func (s statement) fill(u Update) Update {
	if _, ok := s["delay"]; ok && u.Delay == nil {
		u.Delay = new(time.Duration)
	}
	if _, ok := s["monitor"]; ok && u.Monitor == nil {
		u.Monitor = new(time.Duration)
	}
	if _, ok := s["max_failure_ratio"]; ok && u.MaxFailureRatio == nil {
		u.MaxFailureRatio = new(float64)
	}
	return u
}

// statedUpdates reads which keys the update blocks of a model really have.
func statedUpdates(model map[string]any) map[string]updates {
	all := map[string]updates{}
	services, _ := model["services"].(map[string]any)
	for name, service := range services {
		service, _ := service.(map[string]any)
		deploy, _ := service["deploy"].(map[string]any)
		update, _ := deploy["update_config"].(map[string]any)
		rollback, _ := deploy["rollback_config"].(map[string]any)
		all[name] = updates{update: maps.Clone(update), rollback: maps.Clone(rollback)}
	}
	return all
}

// assignments returns NAME=value lines, sorted. A name without a value is
// taken from the environment at load; what is still without one is left out.
func assignments(environment types.MappingWithEquals) []string {
	var lines []string
	for name, value := range environment {
		if value != nil {
			lines = append(lines, name+"="+*value)
		}
	}
	slices.Sort(lines)
	return lines
}

func duration(d *types.Duration) time.Duration { return time.Duration(value(d)) }

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
