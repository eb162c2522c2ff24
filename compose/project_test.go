package compose

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// project writes files (name, content, name, content, ...) into a new
// directory called shop and returns it.
func project(t *testing.T, files ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, o Options) *Project {
	t.Helper()
	p, err := Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func one(t *testing.T, service string) Service {
	t.Helper()
	dir := project(t, "compose.yaml", service)
	s, err := load(t, Options{WorkingDir: dir}).Service("web")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(p *Project) string {
	var all []string
	for _, s := range p.Services() {
		all = append(all, s.Name)
	}
	return strings.Join(all, " ")
}

const web = "services:\n  web:\n    image: web:1\n"

func TestProjectIsFoundAsComposeFindsIt(t *testing.T) {
	tests := map[string]struct {
		files   []string
		options func(dir string, o *Options)
		want    string // project name, then the image of web
	}{
		"default file of the working directory": {
			files: []string{"compose.yaml", web},
			want:  "shop web:1",
		},
		"default file of a directory above": {
			files:   []string{"compose.yaml", web, "a/b/x", ""},
			options: func(dir string, o *Options) { o.WorkingDir = filepath.Join(dir, "a/b") },
			want:    "shop web:1",
		},
		"override file beside the default file": {
			files: []string{"compose.yaml", web, "compose.override.yaml", "services: {web: {image: web:2}}"},
			want:  "shop web:2",
		},
		"several files, the last one wins": {
			files:   []string{"a.yaml", web, "b.yaml", "services: {web: {image: web:3}}"},
			options: func(_ string, o *Options) { o.Files = []string{"a.yaml", "b.yaml"} },
			want:    "shop web:3",
		},
		"COMPOSE_FILE with its own separator": {
			files: []string{"a.yaml", web, "b.yaml", "services: {web: {image: web:4}}"},
			options: func(_ string, o *Options) {
				o.Environ = []string{"COMPOSE_FILE=a.yaml,b.yaml", "COMPOSE_PATH_SEPARATOR=,"}
			},
			want: "shop web:4",
		},
		"COMPOSE_FILE and a variable of .env": {
			files: []string{"a.yaml", "services: {web: {image: 'web:$TAG'}}", ".env", "COMPOSE_FILE=a.yaml\nTAG=5\n"},
			want:  "shop web:5",
		},
		"the environment wins over .env": {
			files:   []string{"compose.yaml", "services: {web: {image: 'web:$TAG'}}", ".env", "TAG=5\n"},
			options: func(_ string, o *Options) { o.Environ = []string{"TAG=6"} },
			want:    "shop web:6",
		},
		"no .env when it is disabled": {
			files: []string{"compose.yaml", "services: {web: {image: 'web:${TAG:-none}'}}", ".env", "TAG=5\n"},
			options: func(_ string, o *Options) {
				o.Environ = []string{"COMPOSE_DISABLE_ENV_FILE=1"}
			},
			want: "shop web:none",
		},
		"several env files, the last one wins": {
			files:   []string{"compose.yaml", "services: {web: {image: 'web:$TAG'}}", "a.env", "TAG=5\n", "b.env", "TAG=7\n"},
			options: func(_ string, o *Options) { o.EnvFiles = []string{"a.env", "b.env"} },
			want:    "shop web:7",
		},
		"COMPOSE_ENV_FILES": {
			files:   []string{"compose.yaml", "services: {web: {image: 'web:$TAG'}}", "a.env", "TAG=8\n"},
			options: func(_ string, o *Options) { o.Environ = []string{"COMPOSE_ENV_FILES=a.env"} },
			want:    "shop web:8",
		},
		"name in the file": {
			files: []string{"compose.yaml", "name: market\n" + web},
			want:  "market web:1",
		},
		"COMPOSE_PROJECT_NAME over the name in the file": {
			files:   []string{"compose.yaml", "name: market\n" + web},
			options: func(_ string, o *Options) { o.Environ = []string{"COMPOSE_PROJECT_NAME=stall"} },
			want:    "stall web:1",
		},
		"-p over everything": {
			files: []string{"compose.yaml", "name: market\n" + web},
			options: func(_ string, o *Options) {
				o.ProjectName, o.Environ = "kiosk", []string{"COMPOSE_PROJECT_NAME=stall"}
			},
			want: "kiosk web:1",
		},
		"project directory": {
			files: []string{"deploy/compose.yaml", web, "other/.env", ""},
			options: func(_ string, o *Options) {
				o.Files, o.ProjectDirectory = []string{"deploy/compose.yaml"}, "other"
			},
			want: "other web:1",
		},
		"standard input": {
			files: []string{"x", ""},
			options: func(_ string, o *Options) {
				o.Files, o.Stdin = []string{"-"}, strings.NewReader("services: {web: {image: web:9}}")
			},
			want: "shop web:9",
		},
		"include": {
			files: []string{"compose.yaml", "include: [part/compose.yaml]\n", "part/compose.yaml", web},
			want:  "shop web:1",
		},
		"extends": {
			files: []string{"compose.yaml", "services: {web: {extends: {file: base.yaml, service: base}}}", "base.yaml", "services: {base: {image: web:10}}"},
			want:  "shop web:10",
		},
		"image that is only built": {
			files: []string{"compose.yaml", "services: {web: {build: .}}"},
			want:  "shop shop-web",
		},
		"image that is only built, in compatibility mode": {
			files:   []string{"compose.yaml", "services: {web: {build: .}}"},
			options: func(_ string, o *Options) { o.Environ = []string{"COMPOSE_COMPATIBILITY=true"} },
			want:    "shop shop_web",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := project(t, test.files...)
			o := Options{WorkingDir: dir}
			if test.options != nil {
				test.options(dir, &o)
			}
			p := load(t, o)
			s, err := p.Service("web")
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Name + " " + s.Image; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if s.Project != p.Name {
				t.Errorf("service says project %s", s.Project)
			}
		})
	}
}

func TestStandardInputIsKeptForTheNextReader(t *testing.T) {
	p := load(t, Options{WorkingDir: t.TempDir(), Files: []string{"-"}, Stdin: strings.NewReader("name: x\n" + web)})
	if string(p.Stdin) != "name: x\n"+web || p.Files[0] != "-" {
		t.Errorf("got files %v, input %q", p.Files, p.Stdin)
	}
	if got := p.Where("web", "image"); got != "stdin:4" {
		t.Errorf("got %s", got)
	}
}

func TestNoComposeFileIsItsOwnError(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(t.Context(), Options{WorkingDir: dir})
	var none *NoFileError
	if !errors.As(err, &none) || none.Dir != dir {
		t.Fatalf("got %v", err)
	}
	_, err = Load(t.Context(), Options{WorkingDir: dir, Files: []string{"nope.yaml"}})
	if err == nil || errors.As(err, &none) || !strings.Contains(err.Error(), "nope.yaml") {
		t.Fatalf("a named file that is missing: got %v", err)
	}
}

func TestMistakesHaveAPlace(t *testing.T) {
	tests := map[string]struct {
		files []string
		use   []string
		want  string
	}{
		"broken YAML": {
			files: []string{"compose.yaml", "services:\n  web:\n    image: web:1\n   ports: []\n"},
			want:  "compose.yaml:4:4: YAML: did not find expected key",
		},
		"YAML that is not closed": {
			files: []string{"compose.yaml", "services:\n  web: {image: web:1\n"},
			want:  "compose.yaml:3:1: YAML: did not find expected ',' or '}'",
		},
		"YAML with a tab": {
			files: []string{"compose.yaml", "services:\n\tweb: {}\n"},
			want:  "compose.yaml:2:1: YAML: found character that cannot start any token",
		},
		"YAML with two colons": {
			files: []string{"compose.yaml", "services:\n  web: a: b\n"},
			want:  "compose.yaml:2:9: YAML: mapping values are not allowed in this context",
		},
		"YAML with an unknown anchor": {
			files: []string{"compose.yaml", "services:\n  web: *base\n"},
			want:  "compose.yaml:2:8: YAML: unknown anchor 'base' referenced",
		},
		"container name for several replicas": {
			files: []string{"compose.yaml", "services:\n  db: {image: x}\n  web:\n    image: x\n    container_name: one\n    scale: 2\n"},
			want:  "compose.yaml:3:3: ",
		},
		"unknown key of a service": {
			files: []string{"compose.yaml", "services:\n  web:\n    image: web:1\n    imgae: web:2\n"},
			want:  "compose.yaml:4:5: services.web.imgae: Compose knows no key \"imgae\" here",
		},
		"unknown key at the top": {
			files: []string{"compose.yaml", web + "servces: {}\n"},
			want:  "compose.yaml:4:1: ",
		},
		"wrong type": {
			files: []string{"compose.yaml", "services:\n  web:\n    image: web:1\n    ports: 80\n"},
			want:  "compose.yaml:4:5: services.web.ports must be a array",
		},
		"wrong type below a name with a dot": {
			files: []string{"compose.yaml", "services:\n  web.one:\n    image: web:1\n    deploy:\n      replicas: [1]\n"},
			want:  "compose.yaml:5:7: services.web.one.deploy.replicas must be",
		},
		"unknown key in the second file": {
			files: []string{"a.yaml", web, "b.yaml", "services:\n  web:\n    restrat: always\n"},
			use:   []string{"a.yaml", "b.yaml"},
			want:  "b.yaml:3:5: services.web.restrat: Compose knows no key",
		},
		"unknown key in an included file": {
			files: []string{"compose.yaml", "include:\n  - part/more.yaml\n", "part/more.yaml", "services:\n  web:\n    image: a\n    nope: 1\n"},
			want:  "part/more.yaml:4:5: ",
		},
		"variable that is required": {
			files: []string{"compose.yaml", "services:\n  web:\n    image: web:${TAG:?give a tag}\n"},
			want:  "compose.yaml:3:5: ",
		},
		"dependency that is not there": {
			files: []string{"compose.yaml", "services:\n  web:\n    image: web:1\n    depends_on: [db]\n"},
			want:  "compose.yaml:2:3: ",
		},
		"duration that is none": {
			files: []string{"compose.yaml", "services:\n  web:\n    image: web:1\n    stop_grace_period: soon\n"},
			want:  "compose.yaml:4:5: ",
		},
		"not a mapping": {
			files: []string{"compose.yaml", "- a\n"},
			want:  "top-level object must be a mapping",
		},
		"empty file": {
			files: []string{"compose.yaml", ""},
			want:  "empty compose file",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Load(t.Context(), Options{WorkingDir: project(t, test.files...), Files: test.use})
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) || strings.HasPrefix(test.want, "compose.yaml") != strings.HasPrefix(err.Error(), "compose.yaml") {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if strings.Contains(err.Error(), os.TempDir()) {
				t.Errorf("names the whole path: %v", err)
			}
		})
	}
}

func TestServicesComeAfterWhatTheyDependOn(t *testing.T) {
	dir := project(t, "compose.yaml", `
services:
  a:
    image: x
    depends_on: {z: {condition: service_started}}
  b:
    image: x
    network_mode: service:y
  c:
    image: x
    volumes_from: [x]
  d:
    image: x
    links: ["w:other"]
  e: {image: x}
  x: {image: x}
  y: {image: x}
  z: {image: x}
  w: {image: x, depends_on: [e]}
`)
	for range 20 {
		p := load(t, Options{WorkingDir: dir})
		if got, want := names(p), "z a y b x c e w d"; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		d, _ := p.Service("d")
		if !slices.Equal(d.DependsOn, []string{"w"}) {
			t.Fatalf("d depends on %v", d.DependsOn)
		}
	}
}

func TestUnknownServiceNamesTheNearestAndTheProfile(t *testing.T) {
	dir := project(t, "compose.yaml", `
services:
  web: {image: x}
  worker: {image: x}
  debug: {image: x, profiles: [dev, test]}
`)
	tests := map[string]string{
		"wrker":  `no service "wrker" in this project: did you mean "worker"?`,
		"kasten": `no service "kasten" in this project: it has web, worker`,
		"debug":  `service "debug" is not active: give --profile dev or --profile test`,
	}
	p := load(t, Options{WorkingDir: dir})
	for name, want := range tests {
		_, err := p.Service(name)
		var unknown *UnknownServiceError
		if !errors.As(err, &unknown) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	for _, o := range []Options{
		{WorkingDir: dir, Profiles: []string{"dev"}},
		{WorkingDir: dir, Environ: []string{"COMPOSE_PROFILES=other, test"}},
	} {
		if got := names(load(t, o)); got != "debug web worker" {
			t.Errorf("with its profile: got %s", got)
		}
	}
}

func TestWhereFindsTheLine(t *testing.T) {
	dir := project(t, "compose.yaml", `include: [part/more.yaml]
x-common: &common
  restart: always
services:
  web:
    <<: *common
    image: web:1
    container_name: one
    labels:
      - traefik.enable=true
    ports:
      - "80"
      - "81:81"
    deploy:
      update_config:
        order: start-first
  based:
    extends: {file: base.yaml, service: base}
    image: b
`, "over.yaml", `services:
  web:
    labels:
      traefik.enable: "false"
`, "part/more.yaml", "services:\n  inner:\n    image: i\n",
		"base.yaml", "services:\n  base:\n    stop_signal: SIGINT\n")
	p := load(t, Options{WorkingDir: dir, Files: []string{"compose.yaml", "over.yaml"}})
	tests := map[string]string{
		"web container_name":             "compose.yaml:8",
		"web labels traefik.enable":      "over.yaml:4",
		"web ports 1":                    "compose.yaml:13",
		"web deploy update_config order": "compose.yaml:16",
		"web restart":                    "compose.yaml:3",
		"web stop_signal":                "over.yaml:2", // not written: the service
		"web":                            "over.yaml:2",
		"inner image":                    "part/more.yaml:3",
		"based stop_signal":              "base.yaml:3",
		"based ports":                    "compose.yaml:17",
		"nobody":                         "compose.yaml",
	}
	for query, want := range tests {
		words := strings.Fields(query)
		if got := p.Where(words[0], words[1:]...); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	only := load(t, Options{WorkingDir: dir, Files: []string{"compose.yaml"}})
	if got := only.Where("web", "labels", "traefik.enable"); got != "compose.yaml:10" {
		t.Errorf("label in a list: got %s", got)
	}
}

func TestServiceIsReadWhole(t *testing.T) {
	dir := project(t, "compose.yaml", `
name: shop
services:
  web:
    image: web:1
    labels: {a: "1", b: "2"}
    label_file: more.labels
    stop_grace_period: 1m30s
    stop_signal: SIGQUIT
    networks: [front, back]
    read_only: true
    tmpfs: ["/run:size=1m"]
    volumes:
      - data:/data
      - ./conf:/conf:ro
      - /anonymous
    ports:
      - "8080:80"
      - "127.0.0.1:9000-9002:9000-9002/udp"
      - "443"
      - "7000-7005:70"
    pre_stop:
      - command: ["/bin/drain", "--now"]
        user: root
        privileged: true
        working_dir: /srv
        environment: [B=2, A=1]
    healthcheck:
      test: curl -f localhost
      retries: 5
    deploy:
      replicas: 4
      update_config: {parallelism: 2, delay: 0s, order: start-first, failure_action: pause, monitor: 7s, max_failure_ratio: 0.5}
      rollback_config: {parallelism: 0, monitor: 0s}
networks:
  front: {}
  back: {name: the-back}
volumes:
  data: {}
`, "more.labels", "c=3\n", "conf/x", "")
	p := load(t, Options{WorkingDir: dir})
	got, err := p.Service("web")
	if err != nil {
		t.Fatal(err)
	}
	want := Service{
		Project:    "shop",
		Name:       "web",
		Image:      "web:1",
		Replicas:   4,
		StopGrace:  new(90 * time.Second),
		StopSignal: "SIGQUIT",
		Labels:     map[string]string{"a": "1", "b": "2", "c": "3"},
		Update: Update{
			Parallelism: new(2), Delay: new(time.Duration(0)), Order: StartFirst, FailureAction: "pause",
			Monitor: new(7 * time.Second), MaxFailureRatio: new(0.5),
		},
		Rollback: Update{Parallelism: new(0), Monitor: new(time.Duration(0))},
		PreStop: []Hook{{
			Command: []string{"/bin/drain", "--now"}, User: "root", Privileged: true, WorkingDir: "/srv",
			Environment: []string{"A=1", "B=2"},
		}},
		Healthcheck: &Healthcheck{
			Test: []string{"CMD-SHELL", "curl -f localhost"}, Interval: 30 * time.Second, Timeout: 30 * time.Second,
			StartInterval: 5 * time.Second, Retries: 5,
		},
		Ports: []Port{
			{Published: "8080", Target: 80, Protocol: "tcp"},
			{HostIP: "127.0.0.1", Published: "9000", Target: 9000, Protocol: "udp"},
			{HostIP: "127.0.0.1", Published: "9001", Target: 9001, Protocol: "udp"},
			{HostIP: "127.0.0.1", Published: "9002", Target: 9002, Protocol: "udp"},
			{Published: "7000-7005", Target: 70, Protocol: "tcp"},
		},
		Networks: []string{"shop_front", "the-back"},
		Volumes: []Mount{
			{Type: "volume", Source: "shop_data", Destination: "/data"},
			{Type: "bind", Source: filepath.Join(dir, "conf"), Destination: "/conf", ReadOnly: true},
			{Type: "volume", Destination: "/anonymous"},
			{Type: "tmpfs", Destination: "/run"},
		},
		ReadOnly: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestWhatIsNotInTheFileStaysEmpty(t *testing.T) {
	s := one(t, "services: {web: {image: web:1}}")
	if s.Replicas != 1 || s.StopGrace != nil || s.Healthcheck != nil || s.NoHealthcheck || s.OneShot || s.Build ||
		!reflect.DeepEqual(s.Update, Update{}) || !reflect.DeepEqual(s.Rollback, Update{}) {
		t.Errorf("got %+v", s)
	}
	if !slices.Equal(s.Networks, []string{"shop_default"}) {
		t.Errorf("networks: got %v", s.Networks)
	}
}

func TestServiceVariants(t *testing.T) {
	tests := map[string]struct {
		file string
		ok   func(Service) bool
	}{
		"scale instead of replicas":  {"services: {web: {image: x, scale: 3}}", func(s Service) bool { return s.Replicas == 3 }},
		"no replicas":                {"services: {web: {image: x, deploy: {replicas: 0}}}", func(s Service) bool { return s.Replicas == 0 }},
		"healthcheck disabled":       {"services: {web: {image: x, healthcheck: {disable: true}}}", func(s Service) bool { return s.NoHealthcheck && s.Healthcheck == nil }},
		"healthcheck test NONE":      {"services: {web: {image: x, healthcheck: {test: [NONE]}}}", func(s Service) bool { return s.NoHealthcheck && s.Healthcheck == nil }},
		"healthcheck of the image":   {"services: {web: {image: x, healthcheck: {interval: 2s}}}", func(s Service) bool { return s.Healthcheck.Interval == 2*time.Second && s.Healthcheck.Test == nil }},
		"container name":             {"services: {web: {image: x, container_name: one}}", func(s Service) bool { return s.ContainerName == "one" }},
		"host network":               {"services: {web: {image: x, network_mode: host}}", func(s Service) bool { return s.NetworkMode == "host" && len(s.Networks) == 0 }},
		"a provider is never rolled": {"services: {web: {provider: {type: model}}}", func(s Service) bool { return s.OneShot }},
		"a job is never rolled":      {"services: {web: {image: x, deploy: {mode: replicated-job}}}", func(s Service) bool { return s.OneShot }},
		"what others wait for the end of is never rolled": {
			"services: {web: {image: x}, app: {image: x, depends_on: {web: {condition: service_completed_successfully}}}}",
			func(s Service) bool { return s.OneShot },
		},
		"unless it is always started again": {
			"services: {web: {image: x, restart: always}, app: {image: x, depends_on: {web: {condition: service_completed_successfully}}}}",
			func(s Service) bool { return !s.OneShot },
		},
		"an optional dependency without its profile": {
			"services: {web: {image: x, depends_on: {db: {condition: service_started, required: false}}}, db: {image: x, profiles: [p]}}",
			func(s Service) bool { return len(s.DependsOn) == 0 },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if s := one(t, test.file); !test.ok(s) {
				t.Errorf("got %+v", s)
			}
		})
	}
}
