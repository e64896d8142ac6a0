# SPDX-License-Identifier: ISC
"""The proxies that Postern is compared with, each set up to do the work and nothing besides: no logs, no cache. Reverse proxies and carriers of bytes
are here; peers_forward.py has the explicit proxies."""
from .peers import Peer
from .peers_forward import FORWARD

NGINX_WAYS = {"http": "reverse", "scale": "reverse", "ws": "reverse", "wss": "reverse", "tls": "reverse", "policy": "reverse"}
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


class Haproxy(Peer):
    name = "haproxy"
    program = "haproxy"
    ways = NGINX_WAYS
    lists = ("exact", "suffix")
    list_limits = {"suffix": 100000}
    start_limit = 120
    settings = ""
    matches = {"exact": "hdr(host),lower,host_only -m str", "suffix": "hdr(host),lower,host_only -m end"}

    def set_up(self, place, programs):
        bind = f"127.0.0.1:{place.port}" + (f" ssl crt {place.pair.both}" if place.pair else "")
        deny = ""
        if place.names_file:
            deny = f"    acl denied {self.matches[self.list_kind]} -f {place.names_file}\n    http-request deny if denied\n"
        text = f"""global
    nbthread 1
    no strict-limits
    maxconn 12000
{self.settings}defaults
    mode http
    timeout connect 10s
    timeout client 10m
    timeout server 10m
    timeout tunnel 1h
frontend site
    bind {bind}
{deny}    default_backend origin
backend origin
    http-reuse always
    server origin {place.origin}
"""
        return ["haproxy", "-db", "-f", place.write("haproxy.cfg", text)]


class HaproxyPool(Haproxy):
    """Keeps idle connections to the origin even when most descriptors are in use."""
    name = "haproxy-pool90"
    ways = {"scale": "reverse"}
    settings = "    tune.pool-low-fd-ratio 80\n    tune.pool-high-fd-ratio 90\n"


class HaproxyTcp(Peer):
    name = "haproxy-tcp"
    program = "haproxy"
    ways = {"bulk": "tcp", "http": "reverse", "ws": "reverse"}
    only_carries = True
    settings = options = ""

    def set_up(self, place, programs):
        text = f"""global
    nbthread 1
    no strict-limits
    maxconn 12000
{self.settings}defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
{self.options}listen relay
    bind 127.0.0.1:{place.port}
    server origin 127.0.0.1:{place.target_port}
"""
        return ["haproxy", "-db", "-f", place.write("haproxy.cfg", text)]


class HaproxyTcp128k(HaproxyTcp):
    name = "haproxy-tcp-128k"
    ways = {"bulk": "tcp"}
    settings = "    tune.bufsize 131072\n"


class HaproxySplice(HaproxyTcp):
    name = "haproxy-splice"
    ways = {"bulk": "tcp"}
    options = "    option splice-auto\n    option splice-request\n    option splice-response\n"


class HaproxySplice1m(HaproxySplice):
    name = "haproxy-splice-1m"
    settings = "    tune.pipesize 1048576\n"


class Nginx(Peer):
    name = "nginx"
    program = "nginx"
    ways = NGINX_WAYS
    lists = ("hash",)
    list_limits = {"hash": 100000}
    start_limit = 120
    buffers = ""

    def set_up(self, place, programs):
        place.make_folders("body", "proxy", "fastcgi", "uwsgi", "scgi")
        text = f"""worker_processes 1; daemon off; pid {place.folder}/pid; error_log stderr crit; user root;
worker_rlimit_nofile 20000;
events {{ worker_connections 19900; use epoll; }}
http {{
    access_log off;
    client_body_temp_path {place.folder}/body; proxy_temp_path {place.folder}/proxy; fastcgi_temp_path {place.folder}/fastcgi;
    uwsgi_temp_path {place.folder}/uwsgi; scgi_temp_path {place.folder}/scgi;
    keepalive_requests 1000000000; keepalive_timeout 3600;
    {self.names_of(place)}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream origin {{ server {place.origin}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 3600; }}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096{" ssl" if place.pair else ""}; server_name _; {self.tls_of(place)}
        {"if ($denied) { return 403; }" if place.names_file else ""}
        location / {{
            proxy_pass http://origin; proxy_http_version 1.1;
            proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h; proxy_send_timeout 1h; proxy_max_temp_file_size 0; {self.buffers}
        }}
    }}
}}
"""
        return ["nginx", "-p", place.folder, "-c", place.write("nginx.conf", text)]

    @staticmethod
    def tls_of(place):
        if not place.pair:
            return ""
        return (f"ssl_certificate {place.pair.certificate}; ssl_certificate_key {place.pair.key}; ssl_protocols TLSv1.2 TLSv1.3; "
                "ssl_session_cache shared:s:10m;")

    @staticmethod
    def names_of(place):
        """A hash table of names and what is under them."""
        if not place.names_file:
            return ""
        names = place.write("denied.map", "".join(f".{name} 1;\n" for name in place.names()), shown=False)
        return ("map_hash_max_size 1048576; map_hash_bucket_size 256; "
                f"map $host $denied {{ hostnames; default 0; include {names}; }}")


class Nginx64k(Nginx):
    name = "nginx-64k"
    ways = {"ws": "reverse"}
    buffers = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"


class NginxStream(Peer):
    name = "nginx-stream"
    program = "nginx"
    ways = {"bulk": "tcp", "http": "reverse", "ws": "reverse"}
    only_carries = True
    buffer = "16k"

    def set_up(self, place, programs):
        text = f"""load_module {STREAM_MODULE};
worker_processes 1; daemon off; pid {place.folder}/pid; error_log stderr crit; user root; worker_rlimit_nofile 20000;
events {{ worker_connections 19900; use epoll; }}
stream {{
    server {{
        listen 127.0.0.1:{place.port} backlog=4096; proxy_pass 127.0.0.1:{place.target_port}; proxy_buffer_size {self.buffer}; proxy_timeout 1h;
    }}
}}
"""
        return ["nginx", "-p", place.folder, "-c", place.write("nginx.conf", text)]


class NginxStream128k(NginxStream):
    name = "nginx-stream-128k"
    ways = {"bulk": "tcp"}
    buffer = "128k"


class Hitch(Peer):
    """Ends TLS and carries what is inside."""
    name = "hitch"
    program = "hitch"
    ways = {"tls": "reverse", "wss": "reverse"}

    def set_up(self, place, programs):
        text = f"""frontend = {{ host = "127.0.0.1" port = "{place.port}" pem-file = "{place.pair.both}" }}
backend = "[127.0.0.1]:{place.target_port}"
workers = 1
backlog = 4096
keepalive = 3600
daemon = off
quiet = on
tls-protos = TLSv1.2 TLSv1.3
user = "root"
"""
        return ["hitch", "--config=" + place.write("hitch.conf", text)]


class TrafficServer(Peer):
    """One thread for traffic; its folders are all in ours (runroot.yaml)."""
    name = "trafficserver"
    program = "traffic_server"
    ways = {key: way for key, way in NGINX_WAYS.items() if key != "policy"}
    records = """exec_thread.autoconfig INT 0
exec_thread.limit INT 1
exec_thread.affinity INT 0
accept_threads INT 0
task_threads INT 1
http.cache.http INT 0
log.logging_enabled INT 0
diags.debug.enabled INT 0
http.insert_request_via_str INT 0
http.insert_squid_x_forwarded_for INT 0
http.insert_client_ip INT 0
http.keep_alive_no_activity_timeout_in INT 3600
http.keep_alive_no_activity_timeout_out INT 3600
http.transaction_no_activity_timeout_in INT 3600
http.transaction_no_activity_timeout_out INT 3600
http.server_session_sharing.pool STRING thread
net.connections_throttle INT 19900
net.max_connections_in INT 19900
net.listen_backlog INT 4096
reverse_proxy.enabled INT 1
url_remap.remap_required INT 1
url_remap.pristine_host_hdr INT 1
admin.user_id STRING #-1
dns.resolv_conf STRING NULL"""

    def set_up(self, place, programs):
        place.make_folders("etc", "run", "log", "cache")
        self._write_root(place)
        records = (f"{self.records}\nhttp.server_ports STRING {place.port}{':ssl' if place.pair else ''}:ip-in=127.0.0.1\n"
                   f"ssl.server.cert.path STRING {place.folder}/etc\nssl.server.private_key.path STRING {place.folder}/etc\n")
        place.write("etc/records.config", "".join(f"CONFIG proxy.config.{line}\n" for line in records.splitlines()))
        http, ws = ("https", "wss") if place.pair else ("http", "ws")
        place.write("etc/remap.config", f"map {ws}://{place.origin}/ws/ ws://{place.origin}/ws/\n"
                                        f"regex_map {http}://.*/ http://{place.origin}/\nmap / http://{place.origin}/\n")
        if place.pair:
            place.write("etc/ssl_multicert.config", f"dest_ip=* ssl_cert_name={place.pair.certificate} ssl_key_name={place.pair.key}\n")
        place.write("etc/ip_allow.yaml", "ip_allow:\n  - apply: in\n    ip_addrs: 0/0\n    action: allow\n    methods: ALL\n")
        for name in ("plugin.config", "storage.config", "hosting.config", "volume.config", "cache.config", "parent.config", "sni.yaml",
                     "logging.yaml"):
            place.write(f"etc/{name}", "", shown=False)
        return ["traffic_server"]

    @staticmethod
    def _write_root(place):
        folders = {"prefix": "", "sysconfdir": "/etc", "datadir": "/cache", "localstatedir": "/run", "runtimedir": "/run", "logdir": "/log",
                   "cachedir": "/cache"}
        given = {"exec_prefix": "/usr", "bindir": "/usr/bin", "sbindir": "/usr/bin", "includedir": "/usr/include",
                 "libdir": "/usr/lib/trafficserver", "libexecdir": "/usr/lib/trafficserver/modules"}
        lines = [f"{key}: {place.folder}{path}" for key, path in folders.items()] + [f"{key}: {path}" for key, path in given.items()]
        place.write("runroot.yaml", "\n".join(lines) + "\n")

    def environment(self, place):
        return {"TS_RUNROOT": place.path("runroot.yaml")}


OTHERS = (Haproxy, HaproxyPool, HaproxyTcp, HaproxyTcp128k, HaproxySplice, HaproxySplice1m, Nginx, Nginx64k, NginxStream, NginxStream128k,
          TrafficServer, Hitch, *FORWARD)
