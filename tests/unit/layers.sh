#!/bin/sh
# Layers (docs/architecture.md): a file may include headers of its own layer and of those named behind it, and third parties are visible
# in one place each. Prints every offence; fails if there is one.
set -eu
cd "$1"
bad=0
allow() { # layer, allowed layers
    layer=$1; shift
    pattern=$(printf '%s|' "$layer" "$@"); pattern="${pattern%|}"
    for file in src/"$layer"/*.c include/"$layer"/*.h; do
        [ -e "$file" ] || continue
        if grep -nE '^ *# *include "(base|conf|proto|policy|filter|net|session|app)/' "$file" | grep -vE "\"($pattern)/"; then
            echo "  ^ $file: the layer $layer may only include: $layer $*"; bad=1
        fi
    done
}
allow base
allow conf base
allow proto base
allow net base
allow policy proto conf base
allow filter policy conf base
allow session net filter policy proto conf base
allow app session net filter policy proto conf base
only() { # header pattern, file pattern where it may stand
    if grep -rnE "# *include <$1" src include | grep -vE "^($2)"; then
        echo "  ^ <$1> may only be included by $2"; bad=1
    fi
}
only 'event2/' 'src/app/'
only 'llhttp' 'src/proto/h1'
only 'libconfig' 'src/conf/conf_file\.c'
only 'ares' 'src/net/'
only 'jansson' 'src/app/|include/app/|src/filter/nft' # what nft lists is JSON
only 'libmnl' 'src/filter/'
only 'nftables' 'src/filter/nft'
only 'libnetfilter_conntrack' 'src/filter/conntrack'
only 'zlib' 'src/proto/ws_deflate\.c'
only 'seccomp' 'src/app/sandbox_calls\.c'
only 'linux/landlock' 'src/app/sandbox_landlock\.c'
only 'pcre2' 'src/base/regex\.c'
only 'openssl/ssl' 'src/net/|include/net/tls_context\.h' # what the files of net/ share about contexts
exit $bad
