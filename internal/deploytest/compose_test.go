package deploytest

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// root is the project's folder, seen from here.
const root = "../.."

// settings are what a user must write into .env.
var settings = map[string]string{
	"CLICKHOUSE_PASSWORD_FILE": "./secrets/clickhouse_password",
	"CTAPPLIANCE_CONTACT":      "ops@ct-watch.org",
	"CTAPPLIANCE_CONFIG_DIR":   "./config",
}

// load reads docker-compose.yml as docker compose does, with env as the only
// environment.
func load(t *testing.T, env map[string]string) (*types.Project, error) {
	t.Helper()
	var list []string
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	o, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")}, cli.WithEnv(list), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	return o.LoadProject(context.Background())
}

func mustLoad(t *testing.T) *types.Project {
	t.Helper()
	p, err := load(t, settings)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Without a setting nothing starts, and the message says what to do. Empty is
// as good as missing.
func TestComposeRefuses(t *testing.T) {
	wants := map[string]string{
		"CLICKHOUSE_PASSWORD_FILE": "there is no default password. Make one with openssl rand -hex 24 > secrets/clickhouse_password",
		"CTAPPLIANCE_CONTACT":      "Write your e-mail address or an https URL into .env as CTAPPLIANCE_CONTACT=",
		"CTAPPLIANCE_CONFIG_DIR":   "Copy deploy/ctappliance.yaml into a directory",
	}
	if !slices.Equal(slices.Sorted(maps.Keys(wants)), slices.Sorted(maps.Keys(settings))) {
		t.Fatal("a required setting has no message here")
	}
	for name, want := range wants {
		for _, how := range []string{"missing", "empty"} {
			t.Run(name+" "+how, func(t *testing.T) {
				env := maps.Clone(settings)
				if env[name] = ""; how == "missing" {
					delete(env, name)
				}
				_, err := load(t, env)
				if err == nil {
					t.Fatal("loaded")
				}
				if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), want) {
					t.Errorf("the message is %q", err)
				}
			})
		}
	}
}

func TestComposeServices(t *testing.T) {
	p := mustLoad(t)
	if got, want := p.ServiceNames(), []string{"clickhouse", "ctappliance"}; !slices.Equal(got, want) {
		t.Fatalf("services %v, want %v", got, want)
	}
	for name, s := range p.Services {
		t.Run(name, func(t *testing.T) {
			if !s.ReadOnly {
				t.Error("the file system can be written")
			}
			if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 {
				t.Errorf("capabilities: drop %v, add %v", s.CapDrop, s.CapAdd)
			}
			if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
				t.Errorf("security_opt %v", s.SecurityOpt)
			}
			if s.Privileged || s.Pid != "" || s.NetworkMode != "" || s.Ipc != "" || len(s.Devices) > 0 {
				t.Error("shares something with the host")
			}
			if uid, _, _ := strings.Cut(s.User, ":"); uid == "" || uid == "0" || uid == "root" {
				t.Errorf("runs as %q", s.User)
			}
			if len(s.Ports) > 0 {
				t.Errorf("publishes %v", s.Ports)
			}
			if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 || s.HealthCheck.StartPeriod == nil {
				t.Error("no health check")
			}
			if s.Restart != types.RestartPolicyUnlessStopped {
				t.Errorf("restart %q", s.Restart)
			}
			if s.Logging == nil || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
				t.Error("its log may fill the disk")
			}
			if s.PidsLimit == 0 || s.StopGracePeriod == nil {
				t.Error("no limit of processes, or no time to stop")
			}
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeBind && !v.ReadOnly {
					t.Errorf("may write to the host's %s", v.Source)
				}
				if strings.Contains(v.Source, "docker.sock") {
					t.Error("has the docker socket")
				}
			}
			writable := 0
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeVolume && !v.ReadOnly {
					writable++
				}
			}
			if writable != 1 {
				t.Errorf("%d writable volumes, want the one with its data", writable)
			}
			if len(s.Secrets) != 1 || s.Secrets[0].Source != "clickhouse_password" {
				t.Errorf("secrets %v", s.Secrets)
			}
		})
	}
	a := p.Services["ctappliance"]
	if d := a.DependsOn["clickhouse"]; d.Condition != types.ServiceConditionHealthy || !d.Required {
		t.Errorf("the appliance does not wait for a healthy ClickHouse: %+v", d)
	}
	if s := p.Networks["store"]; !s.Internal {
		t.Error("ClickHouse's network has a way out")
	}
	if n := slices.Sorted(maps.Keys(p.Services["clickhouse"].Networks)); !slices.Equal(n, []string{"store"}) {
		t.Errorf("ClickHouse is on %v", n)
	}
	if image := p.Services["clickhouse"].Image; !strings.HasPrefix(image, "clickhouse/clickhouse-server:26.3") {
		t.Errorf("ClickHouse is %s; the LTS is 26.3", image)
	}
}

// The password comes from the secret and stands nowhere else; passwords that
// people are used to stand nowhere at all.
func TestComposeNoDefaultPassword(t *testing.T) {
	p := mustLoad(t)
	if got, want := p.Secrets["clickhouse_password"].File, "secrets/clickhouse_password"; !strings.HasSuffix(got, want) {
		t.Errorf("the secret is the file %q, want …%s", got, want)
	}
	for name, s := range p.Services {
		for key, value := range s.Environment {
			if strings.Contains(strings.ToUpper(key), "PASSWORD") && (value == nil || !strings.HasPrefix(*value, "/run/secrets/")) {
				t.Errorf("%s: %s is set in the environment", name, key)
			}
		}
		for _, arg := range slices.Concat(s.Command, s.Entrypoint) {
			if strings.Contains(strings.ToLower(arg), "password") {
				t.Errorf("%s: a password on the command line: %s", name, arg)
			}
		}
	}
	users := read(t, "deploy/clickhouse/users.xml")
	for _, want := range []string{`<default remove="remove"/>`, `<password from_env="CLICKHOUSE_PASSWORD"/>`} {
		if !strings.Contains(users, want) {
			t.Errorf("users.xml does not say %s", want)
		}
	}
	if n := strings.Count(users, "<password"); n != 1 {
		t.Errorf("users.xml has %d passwords", n)
	}
	for _, file := range []string{"docker-compose.yml", "deploy/clickhouse/users.xml", "deploy/clickhouse/server.xml",
		"deploy/clickhouse/start.sh", "deploy/Dockerfile", "deploy/ctappliance.yaml", "deploy/ctappliance.service"} {
		var text string // without comments, which speak of passwords
		for line := range strings.Lines(strings.ToLower(read(t, file))) {
			if !strings.HasPrefix(strings.TrimSpace(line), "#") {
				text += line
			}
		}
		for _, bad := range []string{"changeme", "admin", "password123", "secret123", "<password></password>", "<password/>", "no_password", "password: ", "password=\""} {
			if strings.Contains(text, bad) {
				t.Errorf("%s contains %q", file, bad)
			}
		}
	}
}

// Files that the compose file mounts are there.
func TestComposeMounts(t *testing.T) {
	p := mustLoad(t)
	n := 0
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind || !strings.Contains(v.Source, "/deploy/") {
				continue
			}
			n++
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if b := s.Build; b != nil {
			if _, err := os.Stat(filepath.Join(b.Context, b.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !strings.Contains(read(t, "deploy/Dockerfile"), " AS "+b.Target+"\n") {
				t.Errorf("%s: the Dockerfile has no stage %s", name, b.Target)
			}
		}
	}
	if n != 3 {
		t.Errorf("%d files of deploy/ are mounted, want 3", n)
	}
}

// read returns a file of the project.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
