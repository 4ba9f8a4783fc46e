package config

// Config is everything that a user can set. A key is declared once, here:
// where its value lies, its name, unit, default, range and meaning. Flags,
// environment variables, the YAML loader, `check --print-config` and
// docs/config.md are made from these tags.
//
//	key      name; nested structs are joined by dots (store.dsn)
//	default  text of the default, parsed as the user's would be
//	min max  range of a number, both ends included
//	zero     what 0 means, where 0 lies outside the range and is allowed
//	choices  the allowed words
//	secret   "yes": never a flag, redacted; "part": has a password in it perhaps
//	live     "yes": a reload changes it without a restart
//	doc      one sentence or two, ending in a full stop
//
// A value is taken from the first of: flag, environment, systemd credential
// (secrets only), config file, default. Lists are replaced, never merged.
type Config struct {
	Contact string `key:"contact" live:"yes" doc:"Your e-mail address or an https URL about your use, sent to logs with every request so that their operators can reach you. Required by every command that talks to a log."`
	DataDir string `key:"data-dir" default:"ctappliance-data" doc:"Directory of the write-ahead log, the checkpoint, chain certificates and the embedded store. Where systemd gives $STATE_DIRECTORY that is the default."`

	Store  StoreConfig  `key:"store"`
	Engine EngineConfig `key:"engine"`
	WAL    WALConfig    `key:"wal"`
	Flush  FlushConfig  `key:"flush"`
	Parse  ParseConfig  `key:"parse"`
	Fetch  FetchConfig  `key:"fetch"`
	Memory MemoryConfig `key:"memory"`

	Lists    ListsConfig   `key:"lists"`
	Follow   FollowConfig  `key:"follow"`
	Logs     []LogConfig   `key:"logs" live:"yes" doc:"Logs of your own choice, each with its own settings; see lists.follow for what becomes of all others. In a flag or the environment: YAML or JSON text, or the URL alone."`
	LogList  string        `key:"log-list" live:"yes" doc:"Path of a log list (v3 JSON) from which log-names chooses and where keys of logs are looked up, instead of the lists of lists.sources."`
	LogNames []string      `key:"log-names" live:"yes" doc:"Logs chosen by name, URL or log ID from log-list, else from the lists; 'all usable' chooses every log that is usable or qualified. They begin at zero. Separated by commas in a flag or the environment."`
	HTTP     HTTPConfig    `key:"http"`
	Limits   []LimitConfig `key:"limits" live:"yes" doc:"What is known of hosts and operators. Without it the pacer finds the limit by itself. In a flag or the environment: YAML or JSON text."`

	AuditInterval Duration `key:"audit-interval" default:"10m" min:"10s" max:"24h" doc:"Time between two rounds of the audit that counts the ledger and fetches a tile of every log again."`

	AllowPrivate bool `key:"allow-private" live:"yes" default:"false" doc:"Allow logs on loopback, private and link-local addresses, and over plain http. Meant for tests and logs of your own."`

	Metrics MetricsConfig `key:"metrics"`
	Log     LogOutConfig  `key:"log"`

	Warnings []string // what is odd but not wrong, for the caller to log

	origins map[string]string // key → the key as the user typed it; see Config.label
}

// StoreConfig says where rows go.
type StoreConfig struct {
	DSN            DSN    `key:"dsn" secret:"part" doc:"URL of the HTTP interface of your ClickHouse server, 26.3 or newer: https://host:8443/. Empty runs the embedded engine."`
	User           string `key:"user" default:"default" doc:"ClickHouse user that owns the tables."`
	Password       Secret `key:"password" secret:"yes" doc:"Password of store.user."`
	Database       string `key:"database" default:"ct" doc:"Database of the tables; made if missing."`
	CAFile         string `key:"ca-file" doc:"PEM file of the certificate authority that signed the server's certificate. Empty: those of the operating system."`
	AllowPlaintext bool   `key:"allow-plaintext" default:"false" doc:"Allow http:// to a server that is not on this machine: password and rows then cross the network readable."`
	DedupTokens    bool   `key:"dedup-tokens" default:"true" doc:"Send deduplication tokens with inserts: a second net below the proof by counting, which holds without them."`
	KeepDER        bool   `key:"keep-der" default:"false" doc:"Store the bytes of every certificate too: about 1.3 kB each before compression."`
}

// EngineConfig is about the embedded ClickHouse.
type EngineConfig struct {
	Library          string `key:"library" doc:"Path of libchdb.so. Empty: $CHDB_LIB_PATH, then next to the binary, in data-dir, in /usr/local/lib."`
	Port             int    `key:"port" default:"0" min:"1" max:"65535" zero:"any free port" doc:"Port of the engine's HTTP interface on 127.0.0.1."`
	Memory           Size   `key:"memory" default:"0" min:"512MiB" max:"1TiB" zero:"1.4 GB, or a third of the machine if that is less" doc:"Memory that the engine may use."`
	ReadonlyPassword Secret `key:"readonly-password" secret:"yes" doc:"Password of the engine's read-only user, for Grafana and other readers. Empty: a random one at every start."`
}

// WALConfig is about the write-ahead log.
type WALConfig struct {
	SegmentSize Size `key:"segment-size" default:"64MiB" min:"1MiB" max:"1GiB" doc:"Size of one segment file; disk space is given back in this unit."`
	Budget      Size `key:"budget" default:"8GiB" min:"4MiB" max:"1PiB" zero:"no limit but the disk" doc:"Disk space that entries may take while they wait for ClickHouse. When it is used up, fetching pauses."`
	Reserve     Size `key:"reserve" default:"256MiB" min:"1MiB" max:"1PiB" zero:"none" doc:"Free disk space below which fetching pauses."`
}

// FlushConfig says when rows become an insert. Whatever comes first counts.
type FlushConfig struct {
	Rows     int      `key:"rows" default:"100000" min:"1" max:"1000000" doc:"Rows of the ledger in one insert at most."`
	Bytes    Size     `key:"bytes" default:"112MB" min:"64KiB" max:"1GiB" doc:"Certificate bytes behind one insert at most."`
	Interval Duration `key:"interval" default:"5s" min:"100ms" max:"1h" doc:"Longest time that a parsed entry waits for its insert."`
}

// ParseConfig is about the workers that turn entries into rows.
type ParseConfig struct {
	Workers int `key:"workers" default:"0" min:"1" max:"1024" zero:"one per core" doc:"Workers that parse certificates."`
}

// FetchConfig is about requests to logs.
type FetchConfig struct {
	Workers    int      `key:"workers" default:"4" min:"1" max:"64" doc:"Requests for entries that may be under way at once, per log."`
	PartialAge Duration `key:"partial-age" default:"5m" min:"1s" max:"24h" doc:"How long a static log's last, partial tile may wait to fill before it is fetched as it is; fetching it early costs the log a request more."`
	MaxBody    Size     `key:"max-body" live:"yes" default:"64MiB" min:"1MiB" max:"1GiB" doc:"Largest answer of a log that is read, after decompression."`
}

// MemoryConfig is about the memory of the appliance itself, without the
// engine's.
type MemoryConfig struct {
	Limit Size `key:"limit" default:"0" min:"64MiB" max:"1TiB" zero:"what flush.bytes needs, 353MiB by default" doc:"Memory that the appliance tries to do with, the engine's not counted: near it the collector works harder, which costs processor time; it is no bound that ends anything. Lower flush.bytes with it. GOMEMLIMIT in the environment overrides it."`
}

// ListsConfig is about the log lists.
type ListsConfig struct {
	Follow  string       `key:"follow" default:"auto" choices:"auto,all,none" live:"yes" doc:"Which logs of the lists are followed: all that matter (they take or have taken public certificates, still answer, and no rule of follow.exclude leaves them out), or none but those of logs and log-names. auto is none where logs or log-names names some and no rule of follow is given, else all."`
	Sources []ListSource `key:"sources" live:"yes" doc:"The lists: google, apple, the path or https URL of a list, or settings with url, sig and key. Empty: google and apple. The last good one of each is kept in data-dir/lists and used while its source does not answer."`
	Refresh Duration     `key:"refresh" default:"6h" min:"1m" max:"168h" live:"yes" doc:"Time between two looks at the lists; each is drawn at random around it, half as long to half as long again."`
}

// ListSource is one log list.
type ListSource struct {
	URL string `key:"url" doc:"google, apple, or the path or https URL of a log list (v3 JSON). Required."`
	Sig string `key:"sig" doc:"Path or URL of the list's detached signature. Google's is known."`
	Key string `key:"key" doc:"Path of the PEM public key that made the signature. Google's is known. With a key, a list that it has not signed is refused."`
}

// FollowConfig says which logs of the lists are followed, and from where.
type FollowConfig struct {
	Include []string `key:"include" live:"yes" doc:"Rules, of which a log of the lists must meet one to be followed; empty: all do. See [rules](#rules). Each flag is one rule; the environment holds one, or a list: [rule, rule]."`
	Exclude []string `key:"exclude" live:"yes" doc:"Rules; a log of the lists that meets one is not followed."`
	Start   Start    `key:"start" default:"now" live:"yes" doc:"Where logs of the lists begin: zero, now, an index or a date, as start says for a log of your own. The default is now, because the lists' logs hold tens of billions of entries, of which each host gives out a few thousand a second at best: from zero the appliance would be months behind from its first day, and shards would vanish before it reached their end. now+history copies what is added first and the history beside it. For a log that the lists name later, now is when the lists were first followed."`
}

// LogConfig is one log to follow.
type LogConfig struct {
	URL           string `key:"url" doc:"RFC 6962: the log's base URL. Static: the monitoring prefix. Archive of a log that has ended: file:///directory/ with static tiles or zips of them, or the https URL of a zip or a tile directory. Required."`
	Key           string `key:"key" doc:"The log's public key: base64 of the DER SubjectPublicKeyInfo, as log lists have it, or PEM. May be left out if the log list knows the URL."`
	Kind          string `key:"kind" default:"auto" choices:"auto,rfc6962,static,archive" doc:"Protocol that the log speaks; auto asks the log list, then the log, and takes file: and .zip for archives."`
	Name          string `key:"name" doc:"What to call the log. Empty: the log list's description, else the URL. A log whose URL the list does not know, an archive for one, is looked up there by this name."`
	Operator      string `key:"operator" doc:"Who runs the log."`
	Start         Start  `key:"start" default:"zero" doc:"First entry to copy: zero (the whole history), now (only what is added from today on), an index (one that looks like a date with index: before it), or a date (2026-01-01, or 2026-01-01T12:00:00Z): the first entry that the log has dated so or later. now, an index or a date with +history behind it copies what comes before as well, at the same time and as a span of its own: now+history. Read once, when the log is seen for the first time."`
	SubmissionURL string `key:"submission-url" doc:"Static logs: the submission prefix, from which the checkpoint's origin follows. Empty: the log list's, else that of url."`
}

// HTTPConfig is about asking logs for news.
type HTTPConfig struct {
	PollInterval Duration `key:"poll-interval" default:"0s" min:"100ms" max:"24h" zero:"a default per protocol" doc:"Time between two looks at a log's head."`
}

// LimitConfig is what is known of a host, or of all hosts of an operator.
type LimitConfig struct {
	Host        string  `key:"host" doc:"Host name without scheme and path. This or operator is required."`
	Operator    string  `key:"operator" doc:"Operator as the log lists call it; max-qps and max-in-flight then hold for all its hosts together, beside what is set for each."`
	MaxQPS      float64 `key:"max-qps" default:"0" min:"0.001" max:"100000" zero:"no limit known" doc:"Requests per second that are never exceeded."`
	MaxInFlight int     `key:"max-in-flight" default:"0" min:"1" max:"1024" zero:"no limit known" doc:"Requests under way at once at most, over all logs of the host or operator."`
	StartQPS    float64 `key:"start-qps" default:"0" min:"0.001" max:"100000" zero:"8, or what is built in for the host" doc:"Requests per second to begin with, where nothing was learnt yet. Only of a host."`
	KeepAlive   string  `key:"keep-alive" default:"auto" choices:"auto,on,off" doc:"Whether connections are used for more than one request. auto is on, but off for hosts whose operators ask for that (*.digicert.com, where requests also begin at one in four seconds). Only of a host."`
}

// MetricsConfig is about the HTTP listener of run.
type MetricsConfig struct {
	Listen string `key:"listen" default:"127.0.0.1:9123" doc:"Address on which run serves /metrics, /healthz and /readyz; none serves nothing. Beyond this machine only with metrics.token. If the default is taken, run goes on without; one that was set must be free."`
	Token  Secret `key:"token" secret:"yes" doc:"What /metrics wants as 'Authorization: Bearer …', at least 16 characters. Empty: anybody on this machine may read it."`
}

// LogOutConfig is about what the appliance writes on stderr.
type LogOutConfig struct {
	Level  string `key:"level" live:"yes" default:"info" choices:"debug,info,warn,error" doc:"Least level that is written."`
	Format string `key:"format" default:"text" choices:"text,json" doc:"Form of the lines on stderr."`
}

// Default returns the base on which file, environment and flags are
// laid. It talks to no log until contact and logs are set.
func Default() *Config {
	c := &Config{origins: map[string]string{}}
	setDefaults(c)
	return c
}
