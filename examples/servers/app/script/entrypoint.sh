#!/bin/bash
trap "echo TERM received, sleeping 30 seconds; sleep 30; pkill -TERM -f '^([^ ]*/)?puma '; exit 0" TERM

/app/script/appcontrol.sh
