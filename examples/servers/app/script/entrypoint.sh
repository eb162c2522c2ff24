#!/bin/bash
trap "echo TERM received, sleeping; sleep 1; pkill -TERM -f '^([^ ]*/)?puma '; exit 0" TERM

/app/script/appcontrol.sh
