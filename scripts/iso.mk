# The ISO and the appliance in a VM; included by the Makefile.

# Building needs root (the image's files belong to root).
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=BLOCKHOST_BUILD_CACHE,SOURCE_DATE_EPOCH,FRESH)

.PHONY: iso
iso: deps ## Build the ISO for real machines: build/blockhost_<version>.iso (ISO_OPTIONS=…)
	$(AS_ROOT) scripts/build-iso.sh --backend libvirt --engine local --build-deb $(ISO_OPTIONS)

.PHONY: run
run: deps ## Install the ISO in a VM and open the wizard (ANSWERS=file sets it up; FRESH=1 starts over)
	$(AS_ROOT) scripts/run-appliance $(if $(ANSWERS),--answers $(ANSWERS)) $(if $(filter 1,$(FRESH)),--fresh)

.PHONY: clean
clean: ## Remove everything that was built, the cache and the VM of `make run` included
	$(AS_ROOT) rm -rf build packages/host/*.deb packages/template/*.deb
