#!/bin/sh
# Fails if one of these programs holds what include/base/mutant.h is in the build of the preset `mutants`.
for program; do
    [ -s "$program" ] || exit 1
    if grep -aqE 'mutant_is_off|POSTERN_MUTANT' "$program"; then
        echo "$program: checks can be switched off in it"
        exit 1
    fi
done
