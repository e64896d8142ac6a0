# SPDX-License-Identifier: ISC
"""Explicit proxies that Postern is compared with."""
from .peers import Peer

FORWARD_WAYS = {"http": "forward", "bulk": "connect", "ws": "connect"}
# Of Privoxy: CONNECT to every port; what is blocked.
ALLOW = "{+limit-connect{1-}}\n/\n"
DENY = "{+block{list}}\n"


class Squid(Peer):
    name = "squid"
    program = "squid"
    ways = {**FORWARD_WAYS, "scale": "forward", "policy": "forward"}
    lists = ("dstdomain",)
    start_limit = 180

    def set_up(self, place, programs):
        deny = parent = ""
        if place.names_file:
            names = place.write("denied.txt", "".join(f".{name}\n" for name in place.names()), shown=False)
            deny = f'acl denied dstdomain -n "{names}"\nhttp_access deny denied\n'
        if place.kind == "policy":        # one pool of connections whatever the name is, and no name is looked up
            parent = f"cache_peer 127.0.0.1 parent {place.target_port} 0 no-query originserver name=o\nnever_direct allow all\n"
        text = f"""http_port 127.0.0.1:{place.port}
{deny}http_access allow all
cache deny all
cache_mem 8 MB
access_log none
cache_store_log none
cache_log {place.folder}/cache.log
pid_filename {place.folder}/squid.pid
coredump_dir {place.folder}
netdb_filename none
pinger_enable off
workers 1
max_filedescriptors 20000
shutdown_lifetime 0 seconds
hosts_file {place.hosts_file or "none"}
{parent}client_idle_pconn_timeout 1 hour
server_idle_pconn_timeout 1 hour
pconn_lifetime 1 hour
"""
        return ["squid", "-N", "-f", place.write("squid.conf", text)]


class Tinyproxy(Peer):
    name = "tinyproxy"
    program = "tinyproxy"
    ways = FORWARD_WAYS

    def set_up(self, place, programs):
        text = f"""Port {place.port}
Listen 127.0.0.1
Timeout 3600
MaxClients 12000
LogLevel Critical
LogFile "{place.folder}/log"
PidFile "{place.folder}/pid"
DisableViaHeader Yes
"""
        return ["tinyproxy", "-d", "-c", place.write("tinyproxy.conf", text)]


class Privoxy(Peer):
    name = "privoxy"
    program = "privoxy"
    ways = {"http": "forward", "bulk": "connect", "policy": "forward"}
    lists = ("pattern",)
    list_limits = {"pattern": 10000}
    start_limit = 120

    def set_up(self, place, programs):
        actions = f"actionsfile {place.write('allow.action', ALLOW)}\n"
        if place.names_file:
            names = "".join(f".{name}\n" for name in place.names())
            actions += f"actionsfile {place.write('denied.action', DENY + names, shown=False)}\n"
        text = f"""confdir {place.folder}
templdir /etc/privoxy/templates
logdir {place.folder}
listen-address 127.0.0.1:{place.port}
toggle 1
enable-remote-toggle 0
enable-edit-actions 0
keep-alive-timeout 300
connection-sharing 1
tolerate-pipelining 1
socket-timeout 300
max-client-connections 4096
listen-backlog 4096
debug 8192
{actions}"""
        return ["privoxy", "--no-daemon", place.write("config", text)]


FORWARD = (Squid, Tinyproxy, Privoxy)
