# SPDX-License-Identifier: ISC
"""How figures are called and written in tables."""

# Key -> (title, format, whether less is better).
COLUMNS = {
    "us_op": ("CPU us/{}", "{:.2f}", True),
    "user_us_op": ("user", "{:.2f}", True),
    "system_us_op": ("system", "{:.2f}", True),
    "ops_s": ("{}/s", "{:.0f}", False),
    "s_gb": ("CPU s/GB", "{:.4f}", True),
    "user_s_gb": ("user", "{:.4f}", True),
    "system_s_gb": ("system", "{:.4f}", True),
    "gbit": ("Gbit/s", "{:.1f}", False),
    "p50_us": ("p50 us", "{:.0f}", True),
    "p99_us": ("p99 us", "{:.0f}", True),
    "p999_us": ("p99.9 us", "{:.0f}", True),
    "max_us": ("slowest us", "{:.0f}", True),
    "pss_mb": ("PSS MiB", "{:.1f}", True),
    "pss_kb_conn": ("PSS KiB/conn", "{:.2f}", True),
    "kernel_kb_conn": ("kernel KiB/conn", "{:.2f}", True),
    "open_us_conn": ("open us/conn", "{:.1f}", True),
    "open_cpu_us_conn": ("open CPU us/conn", "{:.1f}", True),
    "idle_cpu_ms_s": ("idle CPU ms/s", "{:.3f}", True),
    "alive": ("alive", "{:.0f}", None),
    "start_s": ("start s", "{:.2f}", True),
    "start_cpu_s": ("start CPU s", "{:.2f}", True),
    "start_pss_mb": ("start PSS MiB", "{:.1f}", True),
    "peak_rss_mb": ("peak RSS MiB", "{:.1f}", True),
    "reload_s": ("reload s", "{:.2f}", True),
    "calls_op": ("system calls/{}", "{:.2f}", True),
    "proxy_cpu_use": ("proxy's use of its CPU", "{:.2f}", None),
}
REQUEST_COLUMNS = ("us_op", "user_us_op", "system_us_op", "ops_s", "p50_us", "p99_us", "pss_mb", "pss_kb_conn", "proxy_cpu_use")
STREAM_COLUMNS = ("s_gb", "user_s_gb", "system_s_gb", "gbit", "proxy_cpu_use")
