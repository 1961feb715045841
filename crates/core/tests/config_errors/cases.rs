//! Invalid configurations, each with the whole message that refuses it. The tests of `pinroute check` read them too.

/// Configurations and messages; words in capitals are shorthands.
const CASES: &[(&str, &str)] = &[
    ("nonsense", "the configuration: not JSON: expected ident at line 1 column 2; allowed: a JSON object"),
    (
        r#"{"key":"#,
        "the configuration: not JSON: EOF while parsing a value at line 1 column 7; allowed: a JSON object",
    ),
    ("{} {}", "the configuration: not JSON: trailing characters at line 1 column 4; allowed: a JSON object"),
    ("[]", "the configuration: got a list that is not shown; allowed: an object"),
    (r#""x""#, "the configuration: got a text that is not shown; allowed: an object"),
    ("null", "the configuration: got null; allowed: an object"),
    (r#"{"keys":{}}"#, "keys: unknown field; allowed: FIELDS"),
    (r#"{"key":"client_id"}"#, r#"key: got "client_id"; allowed: an object such as { header: x-tenant }"#),
    (r#"{"key":{}}"#, "key: got none of its fields; allowed: exactly one of SOURCES"),
    (
        r#"{"key":{"query":"a","header":"b"}}"#,
        "key.header: got both `query` and `header`; allowed: exactly one of SOURCES",
    ),
    (r#"{"key":{"param":"a"}}"#, "key.param: unknown field; allowed: KEYS"),
    (r#"{"key":{"query":5}}"#, "key.query: got 5; allowed: a query parameter's name as it stands in a URL"),
    (
        r#"{"key":{"query":""}}"#,
        r#"key.query: got ""; allowed: a query parameter's name as it stands in a URL"#,
    ),
    (
        r#"{"key":{"query":"a&b"}}"#,
        r#"key.query: got "a&b"; allowed: a query parameter's name as it stands in a URL"#,
    ),
    (r#"{"key":{"header":"x y"}}"#, r#"key.header: got "x y"; allowed: a header's name"#),
    (r#"{"key":{"header":":path"}}"#, r#"key.header: got ":path"; allowed: a header's name"#),
    (r#"{"key":{"cookie":"a=b"}}"#, r#"key.cookie: got "a=b"; allowed: a cookie's name"#),
    (r#"{"key":{"path_segment":-1}}"#, "key.path_segment: got -1; allowed: a whole number from 0 to 63"),
    (r#"{"key":{"path_segment":1.5}}"#, "key.path_segment: got 1.5; allowed: a whole number from 0 to 63"),
    (r#"{"key":{"path_segment":"1"}}"#, r#"key.path_segment: got "1"; allowed: a whole number from 0 to 63"#),
    (
        r#"{"path_prefix":"join"}"#,
        r#"path_prefix: got "join"; allowed: a path that starts with `/`, without white space or `#`"#,
    ),
    (
        r#"{"path_prefix":7}"#,
        "path_prefix: got 7; allowed: a path that starts with `/`, without white space or `#`",
    ),
    (r#"{"resolve":null}"#, "resolve: got null; allowed: a value; to use the default, leave the field out"),
    (r#"{"resolve":{"cluster":""}}"#, r#"resolve.cluster: got ""; allowed: the name of an Envoy cluster"#),
    (
        r#"{"resolve":{"cluster":["a"]}}"#,
        r#"resolve.cluster: got ["a"]; allowed: the name of an Envoy cluster"#,
    ),
    (
        r#"{"resolve":{"path":"where"}}"#,
        r#"resolve.path: got "where"; allowed: a path that starts with `/`, without white space or `#`"#,
    ),
    (
        r#"{"resolve":{"path":"/a b"}}"#,
        r#"resolve.path: got "/a b"; allowed: a path that starts with `/`, without white space or `#`"#,
    ),
    (
        r#"{"resolve":{"query":"a=b"}}"#,
        r#"resolve.query: got "a=b"; allowed: a query parameter's name as it stands in a URL"#,
    ),
    (r#"{"resolve":{"timeout":1}}"#, r#"resolve.timeout: got 1; allowed: DURATION"#),
    (r#"{"resolve":{"timeout":"1"}}"#, r#"resolve.timeout: got "1"; allowed: DURATION"#),
    (r#"{"resolve":{"timeout":"0s"}}"#, r#"resolve.timeout: got "0s"; allowed: DURATION"#),
    (r#"{"resolve":{"timeout":"0.5ms"}}"#, r#"resolve.timeout: got "0.5ms"; allowed: DURATION"#),
    (r#"{"resolve":{"timeout":"2h"}}"#, r#"resolve.timeout: got "2h"; allowed: DURATION"#),
    (
        r#"{"resolve":{"max_in_flight":0}}"#,
        "resolve.max_in_flight: got 0; allowed: a whole number from 1 to 1000000",
    ),
    (
        r#"{"resolve":{"max_in_flight":"many"}}"#,
        r#"resolve.max_in_flight: got "many"; allowed: a whole number from 1 to 1000000"#,
    ),
    (r#"{"resolve":{"cache":true}}"#, "resolve.cache: got true; allowed: an object"),
    (
        r#"{"resolve":{"cache":{"size":1}}}"#,
        "resolve.cache.size: unknown field; allowed: ttl, max_entries, negative_ttl, stale_if_error, drop_on",
    ),
    (r#"{"resolve":{"cache":{"ttl":"0s"}}}"#, r#"resolve.cache.ttl: got "0s"; allowed: DURATION"#),
    (
        r#"{"resolve":{"cache":{"max_entries":0}}}"#,
        "resolve.cache.max_entries: got 0; allowed: a whole number from 1 to 1000000",
    ),
    (
        r#"{"resolve":{"cache":{"stale_if_error":5}}}"#,
        r#"resolve.cache.stale_if_error: got 5; allowed: a duration such as "1s", "0.25s" or "250ms", from 0ms to 3600s"#,
    ),
    (
        r#"{"resolve":{"cache":{"negative_ttl":"-1s"}}}"#,
        r#"resolve.cache.negative_ttl: got "-1s"; allowed: a duration such as "1s", "0.25s" or "250ms", from 0ms to 3600s"#,
    ),
    (r#"{"resolve":{"retries":3}}"#, "resolve.retries: unknown field; allowed: CALL"),
    (
        r#"{"resolve":{},"index":{}}"#,
        "index: got both `resolve` and `index`; allowed: exactly one of resolve, index, shuffle_shard, template",
    ),
    (r#"{"fallback":{}}"#, "fallback: got none of its fields; allowed: exactly one of index, template"),
    (
        r#"{"fallback":{"index":{"replicas":2}}}"#,
        "fallback.target: the field is missing; allowed: a target with exactly one of TARGETS",
    ),
    (
        r#"{"fallback":{"index":{},"target":{"authority":"{hostport}"}}}"#,
        r#"fallback.target.authority: got "{hostport}" with the unknown placeholder {hostport}; allowed: a text with one of {index}, {key}"#,
    ),
    (
        r#"{"index":{"hosts":["a:1"]},"fallback":{"index":{}}}"#,
        "fallback: has no effect here; allowed: only with `resolve`",
    ),
    (r#"{"index":{}}"#, "target: the field is missing; allowed: a target with exactly one of TARGETS"),
    (r#"{"index":[]}"#, "index: got []; allowed: an object"),
    (r#"{"index":{"mode":"fnv"}}"#, r#"index.mode: got "fnv"; allowed: hash or numeric"#),
    (r#"{"index":{"replicas":0}}"#, "index.replicas: got 0; allowed: COUNT"),
    (r#"{"index":{"replicas":65537}}"#, "index.replicas: got 65537; allowed: COUNT"),
    (r#"{"index":{"base":-1}}"#, "index.base: got -1; allowed: a whole number from 0 to 1000000000"),
    (
        r#"{"index":{"hosts":["a:1"],"replicas":2}}"#,
        "index.replicas: cannot be combined with `hosts`; allowed: one of them: a list gives the number",
    ),
    (
        r#"{"index":{"hosts":["a:1"],"mode":"numeric"}}"#,
        "index.hosts: cannot be combined with mode `numeric`; allowed: with mode `hash` only",
    ),
    (r#"{"index":{"hosts":[]}}"#, "index.hosts: got []; allowed: a list of at least one host:port"),
    (r#"{"index":{"hosts":["a"]}}"#, r#"index.hosts[0]: got "a"; allowed: host:port"#),
    (
        r#"{"index":{"hosts":["a:1"]},"target":{"authority":"{index}:1"}}"#,
        r#"target.authority: got "{index}:1" with the unknown placeholder {index}; allowed: RESOLVED"#,
    ),
    (
        r#"{"shuffle_shard":{"size":2}}"#,
        "shuffle_shard.size: unknown field; allowed: total_hosts, shard_size, algorithm, base, hosts, names, hosts_from, pick, seed",
    ),
    (r#"{"shuffle_shard":{"total_hosts":"8"}}"#, r#"shuffle_shard.total_hosts: got "8"; allowed: COUNT"#),
    (r#"{"shuffle_shard":{"shard_size":2.5}}"#, "shuffle_shard.shard_size: got 2.5; allowed: COUNT"),
    (
        r#"{"shuffle_shard":{"algorithm":"md5"}}"#,
        r#"shuffle_shard.algorithm: got "md5"; allowed: rendezvous or lua_djb2"#,
    ),
    (
        r#"{"shuffle_shard":{"pick":"best"}}"#,
        r#"shuffle_shard.pick: got "best"; allowed: path, random, round_robin or an object with header"#,
    ),
    (
        r#"{"shuffle_shard":{"pick":{}}}"#,
        "shuffle_shard.pick: got {}; allowed: path, random, round_robin or an object with header",
    ),
    (
        r#"{"shuffle_shard":{"pick":{"header":1}}}"#,
        "shuffle_shard.pick.header: got 1; allowed: a header's name",
    ),
    (
        r#"{"shuffle_shard":{"seed":""}}"#,
        "shuffle_shard.seed: got a text that is not shown; allowed: a text that is not empty",
    ),
    (
        r#"{"shuffle_shard":{"seed":["a secret"]}}"#,
        "shuffle_shard.seed: got a list that is not shown; allowed: a text that is not empty",
    ),
    (
        r#"{"shuffle_shard":{"seed":"x","algorithm":"lua_djb2"}}"#,
        "shuffle_shard.seed: cannot be combined with algorithm `lua_djb2`; allowed: with algorithm `rendezvous` only",
    ),
    (
        r#"{"shuffle_shard":{"hosts":["a:1","b:1","A:1"]}}"#,
        r#"shuffle_shard.hosts[2]: got "A:1", a host that was listed before; allowed: each host once, in one spelling"#,
    ),
    (
        r#"{"shuffle_shard":{"hosts":["a:1"],"total_hosts":1}}"#,
        "shuffle_shard.total_hosts: cannot be combined with `hosts`; allowed: one of them: a list gives the number",
    ),
    (
        r#"{"response_headers":true}"#,
        "response_headers: has no effect here; allowed: true only with `shuffle_shard`",
    ),
    (r#"{"shuffle_shard":{},"response_headers":1}"#, "response_headers: got 1; allowed: true or false"),
    (r#"{"per_route":""}"#, r#"per_route: got ""; allowed: a namespace of metadata"#),
    (r#"{"metadata":{}}"#, "metadata: got {}; allowed: a namespace of metadata"),
    (r#"{"runtime":{}}"#, "runtime: got none of its fields; allowed: exactly one of rtds, admin, envoy"),
    (
        r#"{"runtime":{"rtds":{},"admin":{}}}"#,
        "runtime.admin: got both `rtds` and `admin`; allowed: exactly one of rtds, admin, envoy",
    ),
    (
        r#"{"runtime":{"prefix":"a.","rtds":{}}}"#,
        r#"runtime.prefix: got "a."; allowed: the start of the names of runtime values, without a dot at its ends"#,
    ),
    (
        r#"{"runtime":{"rtds":{"cluster":""}}}"#,
        r#"runtime.rtds.cluster: got ""; allowed: the name of an Envoy cluster, of at most 100 bytes"#,
    ),
    (
        r#"{"runtime":{"rtds":{"resource":1}}}"#,
        "runtime.rtds.resource: got 1; allowed: the name of a resource",
    ),
    (
        r#"{"runtime":{"rtds":{"refresh":"1s"}}}"#,
        "runtime.rtds.refresh: unknown field; allowed: cluster, authority, resource",
    ),
    (
        r#"{"runtime":{"admin":{"refresh":"1ms"}}}"#,
        r#"runtime.admin.refresh: got "1ms"; allowed: a duration such as "1s", "0.25s" or "250ms", from 50ms to 3600s"#,
    ),
    (
        r#"{"membership":{}}"#,
        "membership: `cluster` is missing; allowed: the cluster whose endpoints are wanted",
    ),
    (r#"{"membership":{"cluster":1}}"#, "membership.cluster: got 1; allowed: the name of an Envoy cluster"),
    (r#"{"target":"a"}"#, r#"target: got "a"; allowed: an object"#),
    (r#"{"target":{}}"#, "target: got none of its fields; allowed: exactly one of TARGETS"),
    (
        r#"{"target":{"authority":"server-{index}:80"}}"#,
        r#"target.authority: got "server-{index}:80" with the unknown placeholder {index}; allowed: RESOLVED"#,
    ),
    (r#"{"target":{"authority":"server:80"}}"#, r#"target.authority: got "server:80"; allowed: RESOLVED"#),
    (
        r#"{"target":{"authority":"{hostport"}}"#,
        r#"target.authority: got "{hostport" with a brace without its partner; allowed: RESOLVED"#,
    ),
    (
        r#"{"target":{"authority":"a b {hostport}"}}"#,
        r#"target.authority: got "a b {hostport}"; allowed: WELL"#,
    ),
    (
        r#"{"target":{"authority":"{hostport}","dynamic_host":"{hostport}"}}"#,
        "target.dynamic_host: got both `authority` and `dynamic_host`; allowed: exactly one of TARGETS",
    ),
    (r#"{"target":{"dynamic_host":"x"}}"#, r#"target.dynamic_host: got "x"; allowed: RESOLVED"#),
    (
        r#"{"target":{"header":{"name":"x-a"}}}"#,
        "target.header: `name` or `value` is missing; allowed: an object with both name and value",
    ),
    (
        r#"{"target":{"header":{"name":"Host","value":"{hostport}"}}}"#,
        r#"target.header.name: got "Host"; allowed: a header's name, but not one of HTTP's own"#,
    ),
    (
        r#"{"target":{"header":{"name":"x-a","value":"a\r\n{hostport}"}}}"#,
        r#"target.header.value: got "a\r\n{hostport}"; allowed: WELL"#,
    ),
    (r#"{"target":{"authority":"{hostport}0"}}"#, r#"target.authority: got "{hostport}0"; allowed: WELL"#),
    (r#"{"target":{"authority":true}}"#, "target.authority: got true; allowed: a text"),
    (r#"{"allowed_targets":"a:80"}"#, r#"allowed_targets: got "a:80"; allowed: a list"#),
    (r#"{"allowed_targets":[]}"#, "allowed_targets: got []; allowed: a list of at least one host:port"),
    (
        r#"{"allowed_targets":["a:80",8]}"#,
        "allowed_targets[1]: got 8; allowed: host:port with `*` for part of a label",
    ),
    (
        r#"{"allowed_targets":["http://a:80"]}"#,
        r#"allowed_targets[0]: got "http://a:80"; allowed: host:port with `*` for part of a label, but a host has letters, digits, `-`, `_`, `.` and `*` only, a name also `|`"#,
    ),
    (
        r#"{"allowed_targets":["a:99999"]}"#,
        r#"allowed_targets[0]: got "a:99999"; allowed: host:port with `*` for part of a label, but a port is a number from 1 to 65535"#,
    ),
    (
        r#"{"allowed_targets":["a:08081"]}"#,
        r#"allowed_targets[0]: got "a:08081"; allowed: host:port with `*` for part of a label, but a port is a number from 1 to 65535"#,
    ),
    (
        r#"{"on_error":"ignore"}"#,
        r#"on_error: got "ignore"; allowed: reject, continue, or an object with one of reject and target, such as { reject: 503 }"#,
    ),
    (
        r#"{"on_error":{"a":[1,null]}}"#,
        "on_error.a[1]: got null; allowed: a value; to use the default, leave the field out",
    ),
    (r#"{"on_error":null}"#, "on_error: got null; allowed: a value; to use the default, leave the field out"),
    (
        r#"{"index":{"replicas":2,"replicas":3}}"#,
        "index: duplicate member `replicas` at line 1 column 36; allowed: each member once",
    ),
    (
        r#"{"key":{"query":"a"},"key":{"query":"b"}}"#,
        "the configuration: duplicate member `key` at line 1 column 41; allowed: each member once",
    ),
    (r#"{"key":["a"]}"#, r#"key: got ["a"]; allowed: an object such as { header: x-tenant }"#),
    (r#"{"resolve":["a"]}"#, "resolve: got a list that is not shown; allowed: an object"),
    (
        r#"{"allowed_targets":[null]}"#,
        "allowed_targets[0]: got null; allowed: a value; to use the default, leave the field out",
    ),
    (r#"{"index":{"hosts":"a:1"}}"#, r#"index.hosts: got "a:1"; allowed: a list"#),
    (
        r#"{"response_headers":null}"#,
        "response_headers: got null; allowed: a value; to use the default, leave the field out",
    ),
    (
        r#"{"on_error":"continue"}"#,
        r#"on_error: got "continue" beside an `authority` or `dynamic_host` target; allowed: reject, or continue with `allow_untouched: true`"#,
    ),
    (
        r#"{"on_error":"continue","target":{"header":{"name":"x-a","value":"{hostport}"}},
            "fallback":{"index":{},"target":{"dynamic_host":"s-{index}:1"}}}"#,
        r#"on_error: got "continue" beside an `authority` or `dynamic_host` target; allowed: reject, or continue with `allow_untouched: true`"#,
    ),
    (r#"{"allow_untouched":"yes"}"#, r#"allow_untouched: got "yes"; allowed: true or false"#),
    (r#"{"request_headers":1}"#, "request_headers: got 1; allowed: true or false"),
    (
        r#"{"request_headers":false}"#,
        "request_headers: has no effect here; allowed: false only with `shuffle_shard`",
    ),
    (
        r#"{"shuffle_shard":{},"request_headers":false,"response_headers":true}"#,
        "request_headers: leaves nothing for the filter to do without a `target`; allowed: false only with a target",
    ),
    (
        r#"{"shuffle_shard":{},"target":{"header":{"name":"X-Target-Host","value":"{index}"}}}"#,
        r#"target.header.name: got "x-target-host", which shows the shard; allowed: another header's name, or `request_headers: false`"#,
    ),
    (r#"{"verify":true}"#, "verify: got true; allowed: an object"),
    (
        r#"{"verify":{}}"#,
        "verify: `response_header` is missing; allowed: the header by which a host says who it is",
    ),
    (
        r#"{"verify":{"response_header":":status"}}"#,
        r#"verify.response_header: got ":status"; allowed: a header's name"#,
    ),
    (
        r#"{"verify":{"response_header":"x-host","value":"same"}}"#,
        r#"verify.value: got "same"; allowed: RESOLVED"#,
    ),
    (
        r#"{"verify":{"response_header":"x-host","value":"{hostport}"},
            "fallback":{"index":{},"target":{"authority":"s-{index}:1"}}}"#,
        "verify.value: cannot be combined with `fallback`, whose hosts have other names; allowed: no value: the host of the target counts",
    ),
    (
        r#"{"shuffle_shard":{},"verify":{"response_header":"x-host"}}"#,
        "verify: `value` is missing; allowed: a value, or a target with a host",
    ),
    (
        r#"{"resolve":{"authority":"a|b"}}"#,
        r#"resolve.authority: got "a|b"; allowed: a host, with or without a port, of at most 100 bytes"#,
    ),
    (
        r#"{"runtime":{"rtds":{"authority":""}}}"#,
        r#"runtime.rtds.authority: got ""; allowed: a host, with or without a port, of at most 100 bytes"#,
    ),
    (
        r#"{"index":{"replicas":3},"target":{"authority":"s-{index}:8081"},"allowed_targets":["s-*:80","s-4:8081"]}"#,
        "allowed_targets: got [s-*:80, s-4:8081], which allows none of the hosts, such as s-1:8081; allowed: entries that match the finished targets",
    ),
    (
        r#"{"shuffle_shard":{"hosts":["a:1","b:1"]},"allowed_targets":["c"]}"#,
        "allowed_targets: got [c], which allows none of the hosts, such as a:1; allowed: entries that match the finished targets",
    ),
    (
        r#"{"fallback":{"index":{},"target":{"authority":"s-{index}:1"}},"allowed_targets":["other"]}"#,
        "allowed_targets: got [other], which allows none of the hosts, such as s-1:1; allowed: entries that match the finished targets",
    ),
    (
        r#"{"shuffle_shard":{"hosts":["a:1","A.:1"]}}"#,
        r#"shuffle_shard.hosts[1]: got "A.:1", a host that was listed before; allowed: each host once, in one spelling"#,
    ),
    (
        r#"{"shuffle_shard":{"hosts":["[2001:db8::1]:1","b:1","[2001:DB8:0::1]:1"]}}"#,
        r#"shuffle_shard.hosts[2]: got "[2001:DB8:0::1]:1", a host that was listed before; allowed: each host once, in one spelling"#,
    ),
    (
        r#"{"shuffle_shard":[{"seed":"topsecret"}]}"#,
        "shuffle_shard: got a list that is not shown; allowed: an object",
    ),
    (r#"{"shuffle_shard":"topsecret"}"#, "shuffle_shard: got a text that is not shown; allowed: an object"),
    (
        r#"{"resolve":{"headers":{"x-a":["topsecret"]}}}"#,
        "resolve.headers.x-a: got a list that is not shown; allowed: a text",
    ),
    (
        r#"{"resolve":{"headers":{"x-a":"{topsecret"}}}"#,
        "resolve.headers.x-a: got a text that is not shown with a brace without its partner; allowed: a text, with {key} or without; FORWARD",
    ),
    (r#"{"a\n[critical] forged":1}"#, r"a\n[critical] forged: unknown field; allowed: FIELDS"),
    (r#"{"metadata":"a\nb"}"#, r#"metadata: got "a\nb"; allowed: a namespace of metadata"#),
    (
        r#"{"resolve":{"path":"/where?a=1&client_id=1"}}"#,
        r#"resolve.path: got "/where?a=1&client_id=1", which has the parameter `client_id` already; allowed: a path without it: it carries the key"#,
    ),
    (
        r#"{"index":{"replicas":300},"target":{"authority":"10.0.0.{index}:80"}}"#,
        r#"target: gives "10.0.0.300:80" for the host 300; allowed: a host, with or without a port, for each host"#,
    ),
    (
        r#"{"index":{"base":0},"target":{"authority":"s:{index}"}}"#,
        r#"target: gives "s:0" for the host 0; allowed: a host, with or without a port, for each host"#,
    ),
    (r#"{"template":{}}"#, "target: the field is missing; allowed: a target with exactly one of TARGETS"),
    (
        r#"{"template":{},"target":{"authority":"server:80"}}"#,
        r#"target.authority: got "server:80"; allowed: a text with {key}"#,
    ),
    (
        r#"{"template":{},"target":{"authority":"{key}"}}"#,
        "allowed_targets: is missing beside a `target` that is the key itself; allowed: a list of at least one host:port",
    ),
    (
        r#"{"fallback":{"template":{},"target":{"dynamic_host":"{key}"}}}"#,
        "allowed_targets: is missing beside a `fallback.target` that is the key itself; allowed: a list of at least one host:port",
    ),
    (
        r#"{"fallback":{"index":{"replicas":2},"target":{"authority":"{key}"}}}"#,
        "allowed_targets: is missing beside a `fallback.target` that is the key itself; allowed: a list of at least one host:port",
    ),
    (
        r#"{"resolve":{"forward_headers":["x-cell"]},
            "fallback":{"template":{},"target":{"header":{"name":"X-Cell","value":"{key}"}}}}"#,
        r#"fallback.target.header.name: got "x-cell", which stands in `resolve.forward_headers` too; allowed: each header in one of them"#,
    ),
    (
        r#"{"resolve":{"headers":{"x-cell":"a"}},"on_error":{"target":{"header":{"name":"x-cell","value":"b"}}}}"#,
        r#"on_error.target.header.name: got "x-cell", which stands in `resolve.headers` too; allowed: each header in one of them"#,
    ),
    (
        r#"{"resolve":{"path":"/a/../where?x=/.."}}"#,
        r#"resolve.path: got "/a/../where?x=/.." with `.` or `..` as a segment; allowed: a path without them"#,
    ),
    (
        r#"{"resolve":{"headers":{"x-api-key":"a{secret}b"}}}"#,
        "resolve.headers.x-api-key: got a text that is not shown with an unknown placeholder; allowed: a text, with {key} or without; FORWARD",
    ),
    (
        r#"{"key":{"host":"{key}.a.test:80"},"resolve":{}}"#,
        r#"key.host: got "{key}.a.test:80" with a character that is never there; allowed: a pattern such as `{key}-*`, not a regular expression"#,
    ),
    (
        r#"{"key":{"path":"/a/{key}?b=*"},"resolve":{}}"#,
        r#"key.path: got "/a/{key}?b=*" with a character that is never there; allowed: a pattern such as `{key}-*`, not a regular expression"#,
    ),
    (
        r#"{"key":{"host":"{a}{b}.test"},"template":{},"target":{"authority":"{a}:80"}}"#,
        r#"key.host: got "{a}{b}.test" with two of `{name}` and `*` without a text between them; allowed: a pattern such as `{key}-*`, not a regular expression"#,
    ),
    (r#"{"key":{"path":"x/{key}"}}"#, r#"key.path: got "x/{key}"; allowed: a pattern that starts with `/`"#),
    (
        r#"{"key":{"path_segment":1,"match":"{key}-*"}}"#,
        "key.match: has no effect here; allowed: only with `query`, `header` and `cookie`",
    ),
    (r#"{"key":{"first":[]}}"#, "key.first: got 0 sources; allowed: 1 to 16 sources"),
    (
        r#"{"key":{"first":[{"query":"a"},{"parts":{}}]}}"#,
        "key.first[1]: nests `first` or `parts`; allowed: sources only",
    ),
    (
        r#"{"key":{"first":[{"query":"a"},{"cookie":"b","match":"{x}-*"}]}}"#,
        "key.first[1]: gives x and the first source gives key; allowed: the same names in each source",
    ),
    (
        r#"{"key":{"query":"a","parts":{"x":{"query":"b"}}}}"#,
        "key: got a source beside `first` or `parts`; allowed: one of them",
    ),
    (
        r#"{"key":{"parts":{"x-y":{"query":"b"}}}}"#,
        r#"key.parts.x-y: got "x-y"; allowed: a name of letters, digits and `_` that begins with none of the digits"#,
    ),
    (
        r#"{"key":{"parts":{"x":{"query":"b","match":"{c}-{d}"}}}}"#,
        "key.parts.x: got a pattern with 2 names; allowed: a pattern with one name",
    ),
    (
        r#"{"key":{"host":"{a}-{b}.test"},"shuffle_shard":{"algorithm":"lua_djb2"}}"#,
        "shuffle_shard.algorithm: got a key of several parts: a, b; allowed: lua_djb2 only with a key of one part",
    ),
    (
        r#"{"key":{"host":"{a}-{b}.test"},"shuffle_shard":{},"runtime":{"rtds":{}}}"#,
        "runtime: got a key of several parts: a, b; allowed: sizes of shards by key only with a key of one part",
    ),
    (
        r#"{"key":{"host":"{host}.test"},"resolve":{},"target":{"authority":"{host}:80"}}"#,
        r#"target.authority: got "{host}:80" with {host}, which is a part of the key too; allowed: another name for the part of the key"#,
    ),
    (
        r#"{"resolve":{"path":"/a/{key}","query":"id"}}"#,
        "resolve.query: has no effect here: the path or the body carries the key; allowed: only where neither does",
    ),
    (
        r#"{"resolve":{"path":"/a/{id}"}}"#,
        r#"resolve.path: got "/a/{id}" with the unknown placeholder {id}; allowed: a text, with {key} or without"#,
    ),
    (
        r#"{"resolve":{"headers":{"Host":"x"}}}"#,
        r#"resolve.headers.Host: got "Host"; allowed: a header's name, but not one of HTTP's own"#,
    ),
    (
        r#"{"resolve":{"forward_headers":["content-length"]}}"#,
        r#"resolve.forward_headers[0]: got "content-length"; allowed: a header's name, but not one of HTTP's own"#,
    ),
    (
        r#"{"resolve":{"headers":{"x-a":"b\r\nc"}}}"#,
        "resolve.headers.x-a: has characters other than visible ASCII; allowed: visible ASCII",
    ),
    (
        r#"{"resolve":{"forward_headers":["x-a"],"set_headers":{"X-A":"/a"}}}"#,
        r#"resolve.set_headers: got "x-a", which stands in `resolve.forward_headers` too; allowed: each header in one of them"#,
    ),
    (
        r#"{"resolve":{"answer":{"hostport":"a"}}}"#,
        r#"resolve.answer.hostport: got "a"; allowed: a JSON pointer such as /a/b, text, or an object with header"#,
    ),
    (
        r#"{"resolve":{"answer":{"hostport":"text","name":"text"}}}"#,
        "resolve.answer: got none of them, or fields that exclude each other; allowed: hostport, or host with or without port, or name, or hostports",
    ),
    (
        r#"{"resolve":{"answer":{"name":"text"}}}"#,
        "target: the field is missing; allowed: a target with exactly one of TARGETS",
    ),
    (
        r#"{"resolve":{"not_found":[200]}}"#,
        "resolve.not_found[0]: got 200; allowed: a whole number from 201 to 599",
    ),
    (
        r#"{"resolve":{"cache":{"drop_on":[42]}}}"#,
        "resolve.cache.drop_on[0]: got 42; allowed: a whole number from 200 to 599",
    ),
    (
        r#"{"on_missing_key":{"reject":200}}"#,
        "on_missing_key.reject: got 200; allowed: a whole number from 400 to 599",
    ),
    (
        r#"{"on_not_found":{"target":{"authority":"a b"}}}"#,
        r#"on_not_found.target.authority: got "a b"; allowed: a host, with or without a port"#,
    ),
    (
        r#"{"on_error":{"target":{"authority":"s-{key}:1"}}}"#,
        r#"on_error.target.authority: got "s-{key}:1"; allowed: a text without placeholders"#,
    ),
    (
        r#"{"template":{},"target":{"authority":"s-{key}:1"},"on_not_found":"reject"}"#,
        "on_not_found: has no effect here; allowed: only with `resolve`",
    ),
    (
        r#"{"index":{"names":["a b"]},"target":{"header":{"name":"x-a","value":"{name}"}}}"#,
        r#"index.names[0]: got "a b"; allowed: a name of 1 to 128 letters, digits and `._|-`"#,
    ),
    (
        r#"{"index":{"hosts":["a:1"]},"target":{"authority":"{host}:2"}}"#,
        r#"target.authority: got "{host}:2" with {host} and without {port}; allowed: both, or {hostport}"#,
    ),
    (
        r#"{"on_error":503}"#,
        "on_error: got 503; allowed: reject, continue, or an object with one of reject and target, such as { reject: 503 }",
    ),
    (
        r#"{"key":{"parts":[{"header":"x-a"}]}}"#,
        r#"key.parts: got [{"header":"x-a"}]; allowed: an object such as { tenant: { header: x-tenant } }"#,
    ),
    (
        r#"{"key":{"header":"x-env","default":"prod"}}"#,
        "key.default: unknown field; allowed: KEYS; a default goes into `key.parts`",
    ),
    (
        r#"{"key":{"host":"(.*).example.com"}}"#,
        r#"key.host: got "(.*).example.com" with no {name}; allowed: a pattern such as `{key}-*`, not a regular expression"#,
    ),
    (r#"{"cache":{"ttl":"5s"}}"#, "cache: unknown field; allowed: FIELDS; see `resolve.cache`"),
    (r#"{"timeout":"1s"}"#, "timeout: unknown field; allowed: FIELDS; see `resolve.timeout`"),
    (
        r#"{"resolve":{"on_not_found":"reject"}}"#,
        "resolve.on_not_found: unknown field; allowed: CALL; `on_not_found` goes beside `resolve`",
    ),
    (
        r#"{"resolve":{"method":"POST"}}"#,
        "resolve.method: unknown field; allowed: CALL; a `body` makes the call a POST request",
    ),
    (
        r#"{"template":"{key}:80"}"#,
        r#"template: got "{key}:80"; allowed: an object without fields; the text goes into `target`"#,
    ),
    (
        r#"{"fallback":{"template":"{key}:80"}}"#,
        r#"fallback.template: got "{key}:80"; allowed: an object without fields; the text goes into `fallback.target`"#,
    ),
    (
        r#"{"resolve":{"body":"{\"type\":\"tenant\"}"}}"#,
        r#"resolve.body: got "{\"type\":\"tenant\"}" with the unknown placeholder {"type":"tenant"}; allowed: a text, with {key} or without; to send JSON, write it as an object, not as a text"#,
    ),
    (
        r#"{"resolve":{"body":{"type":"{kind}"}}}"#,
        r#"resolve.body.type: got "{kind}" with the unknown placeholder {kind}; allowed: a text, with {key} or without"#,
    ),
    (
        r#"{"resolve":{"headers":{"authorization":"{authorization}"}}}"#,
        "resolve.headers.authorization: got a text that is not shown with an unknown placeholder; allowed: a text, with {key} or without; FORWARD",
    ),
    (
        r#"{"template":{},"target":{"authority":"{key}.svc"},"allowed_targets":["*.svc"]}"#,
        r#"target.authority: got "{key}.svc" without a port; allowed: PORT"#,
    ),
    (
        r#"{"resolve":{"answer":{"host":"text"}},"target":{"dynamic_host":"{host}"},"allowed_targets":["a"]}"#,
        r#"target.dynamic_host: got "{host}" without a port; allowed: PORT"#,
    ),
    (
        r#"{"fallback":{"template":{},"target":{"authority":"{key}.svc"}},"allowed_targets":["*.svc"]}"#,
        r#"fallback.target.authority: got "{key}.svc" without a port; allowed: PORT"#,
    ),
    (
        r#"{"template":{},"target":{"authority":"h-{key}:8081"},"allowed_targets":["h-*:8082","h-*:90*"]}"#,
        r#"target.authority: got "h-{key}:8081" with a port that no entry of allowed_targets allows; allowed: a port that an entry allows"#,
    ),
    (
        r#"{"resolve":{"answer":{"name":"text"}},"allowed_targets":["shard_*:8081"],
            "target":{"header":{"name":"x-shard","value":"{name}"}}}"#,
        r#"target.header.value: got "{name}" beside allowed_targets with ports only; allowed: with an entry without a port: a name has none"#,
    ),
    (
        r#"{"shuffle_shard":{"hosts_from":""},"target":{"endpoints":{"header":"x-a"}}}"#,
        r#"shuffle_shard.hosts_from: got ""; allowed: the name of an Envoy cluster"#,
    ),
    (
        r#"{"shuffle_shard":{"hosts_from":"a","total_hosts":8}}"#,
        "shuffle_shard.total_hosts: cannot be combined with `hosts_from`; allowed: one of them: a list gives the number",
    ),
    (
        r#"{"shuffle_shard":{"hosts_from":"a","names":["b"]}}"#,
        "shuffle_shard.hosts_from: got both `names` and `hosts_from`; allowed: exactly one of hosts, names, hosts_from",
    ),
    (
        r#"{"shuffle_shard":{"hosts_from":"a","algorithm":"lua_djb2"}}"#,
        "shuffle_shard.hosts_from: cannot be combined with algorithm `lua_djb2`; allowed: with algorithm `rendezvous` only",
    ),
    (
        r#"{"index":{"hosts_from":"a","base":0}}"#,
        "index.base: cannot be combined with `hosts_from`; allowed: one of them: a list gives the number",
    ),
    (
        r#"{"index":{"hosts_from":"a","mode":"numeric"}}"#,
        "index.hosts_from: cannot be combined with mode `numeric`; allowed: with mode `hash` only",
    ),
    (
        r#"{"shuffle_shard":{"hosts_from":"a"},"target":{"endpoints":{"header":"x-a"}}}"#,
        r#"shuffle_shard.hosts_from: got "a"; allowed: the cluster of `membership`, which must be configured"#,
    ),
    (
        r#"{"index":{"hosts_from":"a"},"target":{"endpoints":{"header":"x-a"}},"membership":{"cluster":"b"}}"#,
        r#"index.hosts_from: got "a"; allowed: the cluster of `membership`, which must be configured"#,
    ),
    (
        r#"{"shuffle_shard":{"hosts_from":"a"},"membership":{"cluster":"a"}}"#,
        "target: the field is missing; allowed: a target with exactly one of TARGETS",
    ),
    (
        r#"{"shuffle_shard":{"hosts_from":"a"},"target":{"authority":"{hostport}"}}"#,
        r#"target.authority: got "{hostport}" where the hosts are addresses; allowed: only `endpoints` as a target"#,
    ),
    (
        r#"{"shuffle_shard":{},"target":{"endpoints":{"header":"x-a"}}}"#,
        "target.endpoints: has no source of addresses; allowed: ADDRESSES",
    ),
    (
        r#"{"template":{},"target":{"endpoints":{"header":"x-a"}}}"#,
        "target.endpoints: has no source of addresses; allowed: ADDRESSES",
    ),
    (
        r#"{"resolve":{"answer":{"name":"text"}},"target":{"endpoints":{"header":"x-a"}}}"#,
        "target.endpoints: has no source of addresses; allowed: ADDRESSES",
    ),
    (
        r#"{"on_error":{"target":{"endpoints":{"header":"x-a"}}}}"#,
        "on_error.target.endpoints: has no source of addresses; allowed: authority, dynamic_host or header",
    ),
    (
        r#"{"shuffle_shard":{"hosts":["a:1"]},"target":{"endpoints":{"header":"x-a"}}}"#,
        r#"target: got `endpoints` beside the host "a:1"; allowed: IP addresses with ports in `hosts`"#,
    ),
    (
        r#"{"shuffle_shard":{"hosts":["10.0.0.1:1"]},"target":{"endpoints":{}}}"#,
        "target.endpoints: `header` is missing; allowed: a request header's name",
    ),
    (
        r#"{"shuffle_shard":{"hosts":["10.0.0.1:1"]},"target":{"endpoints":{"header":"Host"}}}"#,
        r#"target.endpoints.header: got "Host"; allowed: a header's name, but not one of HTTP's own"#,
    ),
    (
        r#"{"shuffle_shard":{"hosts":["10.0.0.1:1"]},"target":{"endpoints":{"header":"X-Target-Host"}}}"#,
        r#"target.endpoints.header: got "x-target-host", which shows the shard; allowed: another header's name, or `request_headers: false`"#,
    ),
    (
        r#"{"shuffle_shard":{"hosts":["10.0.0.1:1"]},"target":{"endpoints":{"header":"x-a"}},"verify":{"response_header":"x-b"}}"#,
        "verify: cannot be combined with `endpoints`, by which several hosts may answer; allowed: with another target only",
    ),
    (
        r#"{"resolve":{"answer":{"hostports":"/a"},"set_headers":{"x-a":"/b"}},"target":{"endpoints":{"header":"x-a"}}}"#,
        r#"target.endpoints.header: got "x-a", which stands in `resolve.set_headers` too; allowed: each header in one of them"#,
    ),
    (
        r#"{"resolve":{"answer":{"hostports":"owners"}}}"#,
        r#"resolve.answer.hostports: got "owners"; allowed: a JSON pointer such as /a/b, text, or an object with header"#,
    ),
    (
        r#"{"resolve":{"answer":{"hostports":"/a","hostport":"/b"}}}"#,
        "resolve.answer: got none of them, or fields that exclude each other; allowed: hostport, or host with or without port, or name, or hostports",
    ),
    (
        r#"{"resolve":{"answer":{"hostports":"/a"}}}"#,
        "target: the field is missing; allowed: a target with exactly one of TARGETS",
    ),
    (r#"{"on_shard_down":"continue"}"#, r#"on_shard_down: got "continue"; allowed: reject or try"#),
    (
        r#"{"shuffle_shard":{},"on_shard_down":"reject"}"#,
        "on_shard_down: has no effect here; allowed: only with `hosts_from`",
    ),
    (
        r#"{"membership":{"cluster":"a","eds":{},"refresh":"1s"}}"#,
        "membership.refresh: cannot be combined with `eds`, which pushes the endpoints; allowed: without `eds` only",
    ),
    (
        r#"{"membership":{"cluster":"a","eds":{"cluster":""}}}"#,
        r#"membership.eds.cluster: got ""; allowed: the name of an Envoy cluster, of at most 100 bytes"#,
    ),
    (
        r#"{"membership":{"cluster":"a","eds":{"service":""}}}"#,
        r#"membership.eds.service: got ""; allowed: the name of a resource"#,
    ),
    (
        r#"{"membership":{"cluster":"a","eds":{"authority":""}}}"#,
        r#"membership.eds.authority: got ""; allowed: AUTHORITY"#,
    ),
];

/// Texts that recur in the messages.
const SHORTHANDS: &[(&str, &str)] = &[
    (
        "FIELDS",
        "key, path_prefix, resolve, index, shuffle_shard, template, target, allowed_targets, on_missing_key, on_not_found, on_error, on_shard_down, allow_untouched, fallback, verify, request_headers, response_headers, metadata, runtime, membership, per_route",
    ),
    ("TARGETS", "authority, dynamic_host, header, endpoints"),
    ("ADDRESSES", "only with `hosts_from`, `hosts`, or `resolve` with the answer `hostports` or `hostport`"),
    ("AUTHORITY", "a host, with or without a port, of at most 100 bytes"),
    ("SOURCES", "query, header, cookie, path_segment, host, path, first, parts"),
    ("KEYS", "query, header, cookie, path_segment, host, path, match, first, parts"),
    ("RESOLVED", "a text with one of {hostport}, {host}, {port}, {key}"),
    ("FORWARD", "to send a header of the request along, use `forward_headers`"),
    ("PORT", "with a port, because allowed_targets matches no address without one"),
    (
        "CALL",
        "cluster, authority, path, query, headers, forward_headers, body, answer, set_headers, not_found, timeout, cache, max_in_flight",
    ),
    ("WELL", "a text that is well-formed once its placeholders are replaced"),
    ("COUNT", "a whole number from 1 to 65536"),
    ("DURATION", r#"a duration such as "1s", "0.25s" or "250ms", from 1ms to 3600s"#),
];

/// All cases with their whole messages.
pub fn cases() -> impl Iterator<Item = (&'static str, String)> {
    let long =
        |text: &str| SHORTHANDS.iter().fold(text.to_owned(), |text, (name, list)| text.replace(name, list));
    CASES.iter().map(move |(config, message)| (*config, long(message)))
}
